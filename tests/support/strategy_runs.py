"""Trainings of tiny models of every family under every strategy, on processes of this machine.

``python strategy_runs.py RANK WORLD FOLDER FAMILY [STRATEGY ...]`` is one process of a group; see :func:`run_group`.
"""
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

STRATEGIES = ('ddp', 'ddp_sharded', 'fsdp')
FAMILIES = ('mask_rcnn', 'deformable_detr', 'mask2former', 'mal', 'sam2')
ITERATIONS = 20
#: every list of like modules is a unit of its own, however small
OPTIONS: dict[str, Any] = dict(fsdp=dict(type='FSDP2Strategy', min_params=1))


def drawn_shapes(folder: Path):
    """Pictures for all families but SAM 2, the same in every call."""
    from maskforge.datasets.synthetic import draw_shapes
    return draw_shapes(folder / 'data', num_train=16, num_val=5, size=96, max_objects=3, panoptic=True)


def family_config(family: str, drawn: Any, work_dir: Path, *, iterations: int = ITERATIONS, **changes) -> dict:
    """A config for ``Runner.from_cfg`` without dropout; checkpoints at the half and at the end."""
    config = dict(globals()[f'_{family}'](drawn, work_dir))
    half = max(iterations // 2, 1)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        config.pop(key, None)
    config.update(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations), log_level='WARNING',
        param_scheduler=[dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=10)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=half, by_epoch=False),
                           logger=dict(type='LoggerHook', interval=1000)))
    start = Path(work_dir).parent / 'start.pth'
    return {**config, **(dict(load_from=str(start)) if start.is_file() else {}), **changes}


def _mask_rcnn(drawn: Any, work_dir: Path) -> dict:
    from tiny_detr import tiny_detr_config
    from tiny_rcnn import tiny_config
    config = tiny_detr_config(drawn, work_dir)
    model = tiny_config(num_classes=len(drawn.classes))
    loader = config['train_dataloader']
    loader['dataset']['pipeline'][1] = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
    return dict(config, model=model, optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4), clip_grad=dict(max_norm=10.0)))


def _deformable_detr(drawn: Any, work_dir: Path) -> dict:
    from tiny_detr import tiny_detr_config
    return tiny_detr_config(drawn, work_dir, model=dict(dropout_ratio=0., enc_layers=2), optim_wrapper=dict(
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4, eps=1e-6), clip_grad=dict(max_norm=0.1),
        paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))))


def _mask2former(drawn: Any, work_dir: Path) -> dict:
    from tiny_mask2former import tiny_mask2former_config
    # clipping that acts would round the sum of squares by the order of its terms; masks that are cut at one half and
    # points that are chosen by their rank turn a last bit into another gradient within some steps. eps: biases before a
    # group norm have a gradient of nothing but rounding, of which Adam would make whole steps
    return tiny_mask2former_config(drawn, work_dir, 'panoptic', model=dict(enc_layers=2), optim_wrapper=dict(
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, eps=1e-4), clip_grad=dict(max_norm=1000.),
        paramwise_cfg=dict(norm_decay_mult=0., custom_keys=dict(backbone=dict(lr_mult=0.1)))))


def _mal(drawn: Any, work_dir: Path) -> dict:
    from tiny_mal import tiny_mal_config
    return tiny_mal_config(drawn, work_dir, batch_size=2, optim_wrapper=dict(
        optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.9), weight_decay=5e-4)))


def _sam2(drawn: Any, work_dir: Path) -> dict:
    from tiny_sam2 import TINY

    from maskforge.registry import DATASETS
    del drawn
    DATASETS.register_module(module=DrawnClips, force=True)
    loader = dict(batch_size=1, num_workers=0, collate_fn=dict(type='pseudo_collate'),
                  dataset=dict(type='DrawnClips'), sampler=dict(type='DefaultSampler', shuffle=True))
    return dict(model=dict(type='SAM2', network=dict(TINY, memory_dropout=0.),
                           prompts=dict(num_correction_pt_per_frame=2)),
                work_dir=str(work_dir), train_dataloader=loader, randomness=dict(seed=3), default_scope='maskforge',
                optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.1),
                                   clip_grad=dict(max_norm=0.1)), visualizer=None)


class DrawnClips:
    """Clips of three frames and pictures in turn, with one or two objects."""

    metainfo: dict = {}

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict:
        from tiny_clips import tiny_batch
        batch = tiny_batch(3 if index % 3 else 1, (1 + index % 2,), seed=index)
        return {key: value[0] for key, value in batch.items()}


# runs ----------------------------------------------------------------------------------------------------------------

def run_group(world_size: int, folder: Path, family: str, *jobs: str, timeout: float = 900) -> list[str]:
    """Start the processes; returns the outputs by rank.

    Args:
        jobs: functions of this file, ``name`` or ``name:argument``; each is called as
            ``name(family, folder, rank, argument)`` by all processes.
    """
    from interrupted_runs import free_port
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1', WORLD_SIZE=str(world_size),
                       MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    folder.mkdir(parents=True, exist_ok=True)
    processes = [subprocess.Popen(
        [sys.executable, __file__, str(folder), family, *jobs], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=dict(environment, RANK=str(rank), LOCAL_RANK=str(rank))) for rank in range(world_size)]
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [number for number, process in enumerate(processes) if process.returncode]
    if failed:
        raise AssertionError(f'{family}, {world_size} processes, rank {failed[0]}:\n{outputs[failed[0]][-4000:]}')
    return outputs


def train(family: str, folder: Path, rank: int, strategy: str) -> None:
    """Train from the seed; the checkpoints lie in ``folder/strategy``."""
    from maskforge.engine import Runner
    config = family_config(family, _data(folder), folder / strategy, launcher='pytorch',
                           strategy=OPTIONS.get(strategy, strategy))
    if rank >= 0 and strategy == 'ddp':
        config['custom_hooks'] = [*config.get('custom_hooks', ()), dict(type='Recorder', path=str(folder))]
        _register_recorder()
    Runner.from_cfg(config).train()


def cross(family: str, folder: Path, rank: int, pair: str) -> None:
    """``writer>reader``: continue the half of one strategy's run under another, to the end."""
    from maskforge.engine import Runner
    writer, reader = pair.split('>')
    half = folder / writer / f'iter_{ITERATIONS // 2}.pth'
    config = family_config(family, _data(folder), folder / f'{writer}_{reader}', launcher='pytorch',
                           strategy=OPTIONS.get(reader, reader), resume=str(half))
    Runner.from_cfg(config).train()


def _data(folder: Path) -> Any:
    return pickle.loads((folder / 'shapes.pickle').read_bytes())


def _register_recorder() -> None:
    from mmengine.hooks import Hook

    from maskforge.engine.random_state import capture_random_state
    from maskforge.registry import HOOKS

    @HOOKS.register_module(force=True)
    class Recorder(Hook):
        """Keeps the first weights, and every batch with the random state before its step."""

        priority = 'VERY_LOW'

        def __init__(self, path: str) -> None:
            self.path, self.steps = path, []

        def before_train(self, runner) -> None:
            model = getattr(runner.model, 'module', runner.model)
            self.first = {name: value.clone() for name, value in model.state_dict().items()}

        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            model = getattr(runner.model, 'module', runner.model)
            self.steps.append(dict(batch=data_batch, random=capture_random_state(),
                                   own=model.random_state() if hasattr(model, 'random_state') else None))

        def after_train(self, runner) -> None:
            torch.save(dict(first=self.first, steps=self.steps), f'{self.path}/record_{runner.rank}.pt')


# the ranks of DDP in one process --------------------------------------------------------------------------------------

def emulate(family: str, folder: Path, world_size: int) -> dict[str, Tensor]:
    """Train as :class:`DistributedDataParallel` would, in this process: each rank's batch, losses normalised by rank,
    the mean of the gradients. Returns the parameters; needs what ``train:ddp`` has recorded.
    """
    from unittest import mock

    from mmengine import dist

    from maskforge.engine import Runner
    records = [torch.load(folder / f'record_{rank}.pt', weights_only=False) for rank in range(world_size)]
    runner = Runner.from_cfg(family_config(family, _data(folder), folder / 'emulated'))
    model = runner.model
    model.load_state_dict(records[0]['first'])
    _ = runner.train_loop
    runner.optim_wrapper = wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedules = runner.build_param_scheduler(runner.param_schedulers)
    wrapper.initialize_count_status(model, 0, ITERATIONS)
    model.train()
    buffers = [[buffer.clone() for buffer in model.buffers()] for _ in range(world_size)]
    counts = _Counts()
    with mock.patch.object(dist, 'is_distributed', lambda *_: True), \
            mock.patch.object(dist, 'all_reduce', counts.all_reduce), \
            mock.patch.object(dist, 'get_world_size', lambda *_: world_size):
        for iteration in range(ITERATIONS):
            runner.message_hub.update_info('iter', iteration)
            steps = [record['steps'][iteration] for record in records]
            counts.begin()
            for step, own in zip(steps, buffers):  # how many targets the other ranks have
                _loss(model, step, own, keep=False)
                counts.end_of_rank()
            counts.replay(world_size)
            wrapper.zero_grad()
            for step, own in zip(steps, buffers):
                (_loss(model, step, own, keep=True) / world_size).backward()
            wrapper.step()
            for schedule in schedules:
                schedule.step()
            if hasattr(model, 'update_teacher'):
                model.update_teacher()
    return {name: value.detach() for name, value in model.named_parameters()}


def _loss(model: Any, step: dict, buffers: list[Tensor], *, keep: bool) -> Tensor:
    """The step's loss with the rank's buffers and random state; ``keep``: what it changes of the buffers stays."""
    import copy

    from maskforge.engine.random_state import restore_random_state
    for mine, own in zip(model.buffers(), buffers):
        mine.copy_(own)
    restore_random_state(step['random'])
    if step['own'] is not None:
        model.set_random_state(copy.deepcopy(step['own']))
    data = model.data_preprocessor(copy.deepcopy(step['batch']), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    if keep:
        for mine, own in zip(model.buffers(), buffers):
            own.copy_(mine)
    return loss


class _Counts:
    """Sums over ranks that take their turns: first everyone's values are noted, then everyone gets the sums."""

    def begin(self) -> None:
        self.noted, self.present, self.sums = [], [], None

    def end_of_rank(self) -> None:
        self.noted.append(self.present)
        self.present = []

    def replay(self, world_size: int) -> None:
        self.sums = [torch.stack(values).sum(0) for values in zip(*self.noted)]
        self.turns = iter(self.sums * world_size)

    def all_reduce(self, value: Tensor, *_: Any) -> None:
        if self.sums is None:
            self.present.append(value.clone())
        else:
            value.copy_(next(self.turns))


# comparing -----------------------------------------------------------------------------------------------------------

def difference(first: Any, second: Any) -> float:
    """The largest difference between two nested values; infinite where they are not alike.

    Differences of tensors with values above 1 (running variances of raw pixels) are relative to the largest value.
    """
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        if first.shape != second.shape:
            return float('inf')
        if not first.numel():
            return 0.0
        scale = second.double().abs().max().clamp(min=1)
        return ((first.double() - second.double()).abs().max() / scale).item()
    if isinstance(first, dict) and isinstance(second, dict):
        if first.keys() != second.keys():
            return float('inf')
        return max((difference(first[key], second[key]) for key in first), default=0.0)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        return max(map(difference, first, second), default=0.0)
    if isinstance(first, (int, float)) and isinstance(second, (int, float)):
        return abs(first - second)
    return 0.0 if first == second else float('inf')


def load(folder: Path, run: str, iteration: int = ITERATIONS) -> dict:
    from maskforge.checkpoints import load_checkpoint
    return load_checkpoint(folder / run / f'iter_{iteration}.pth')


def state_differences(one: dict, other: dict) -> tuple[float, float]:
    """Largest differences of weights and of the optimizer's state between two checkpoints."""
    return (difference(one['state_dict'], other['state_dict']),
            difference(one['optimizer']['state'], other['optimizer']['state']))


def prepare(folder: Path, family: str) -> None:
    """Draw the pictures and note where they are; write the weights to start from.

    Sampling points of deformable attention start in the middle of pixels, where bilinear weights have a kink: the last
    bit of a sum would decide about a gradient. The start moves them off. Much of a fresh SAM 2 is zero, behind which
    gradients are so small that Adam makes whole steps of their last bits: nothing is zero at the start.
    """
    from maskforge.checkpoints import save_checkpoint
    from maskforge.layers.lora import build_model
    folder.mkdir(parents=True, exist_ok=True)
    drawn = drawn_shapes(folder)
    (folder / 'shapes.pickle').write_bytes(pickle.dumps(drawn))
    moved = dict(deformable_detr=('sampling_offsets', 0.1), mask2former=('sampling_offsets', 0.1), sam2=('', 0.05))
    if family not in moved:
        return
    part, amount = moved[family]
    torch.manual_seed(0)
    model = build_model(family_config(family, drawn, folder)['model'])
    model.init_weights()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if part in name:
                parameter.add_(torch.randn_like(parameter), alpha=amount)
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'start.pth')


def compare(family: str, world_size: int, folder: Path | None = None, *, strategies: Sequence[str] = STRATEGIES,
            pairs: Sequence[str] = ()) -> dict[str, tuple[float, float]]:
    """Train a family and return, by run, the largest differences of (weights, optimizer state) from DDP's."""
    folder = folder or Path(tempfile.mkdtemp())
    prepare(folder, family)
    run_group(world_size, folder, family, *(f'train:{name}' for name in strategies), *(f'cross:{p}' for p in pairs))
    reference = load(folder, 'ddp')
    runs = [*strategies[1:], *(pair.replace('>', '_') for pair in pairs)]
    found = {run: state_differences(load(folder, run), reference) for run in runs}
    emulated = emulate(family, folder, world_size)
    weights = {name: reference['state_dict'][name] for name in emulated}
    return {'emulation': (difference(emulated, weights), 0.0), **found}


def main() -> None:
    import torch.distributed as torch_dist
    from mmengine.registry import init_default_scope
    torch.set_num_threads(1)
    init_default_scope('maskforge')
    folder, family, *jobs = sys.argv[1:]
    rank, world_size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    torch_dist.init_process_group('gloo', rank=rank, world_size=world_size)
    for job in jobs:
        name, _, argument = job.partition(':')
        globals()[name](family, Path(folder), rank, argument)
        torch_dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an interpreter that takes its time to end


if __name__ == '__main__':
    main()
