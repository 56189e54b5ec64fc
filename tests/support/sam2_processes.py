"""A training step of SAM 2 on one of two processes."""
import torch
import torch.distributed as torch_dist
from tiny_clips import ALWAYS, ONE_FRAME, tiny_batch, tiny_sam2, total

from maskforge.engine.model_wrapper import MMDistributedDataParallel

CASES = {kind: dict(prompts={**ALWAYS[kind], **ONE_FRAME, 'num_correction_pt_per_frame': 1}) for kind in ALWAYS}


def train_rank(rank: int, folder: str) -> None:
    """Steps on clips and images with every kind of prompt; the last gradients go to ``folder``."""
    torch.set_num_threads(1)
    torch_dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    results = {}
    for kind, settings in CASES.items():
        model = tiny_sam2(**settings, objects_per_chunk=1)
        wrapped = MMDistributedDataParallel(model)
        for frames in (2, 1, 2):  # clips, images: other parameters each time
            model.zero_grad(set_to_none=True)
            # the first process has one object, the second has two
            batch = tiny_batch(frames, (1 + rank,), seed=rank)
            torch.manual_seed(rank)
            data = model.data_preprocessor(batch, True)
            losses = wrapped(**data, mode='loss')
            total(losses).backward()
        results[kind] = {name: parameter.grad for name, parameter in model.named_parameters()}
        results[f'{kind} generator'] = model.random_state()
    torch.save(results, f'{folder}/{rank}.pt')
    torch_dist.destroy_process_group()
