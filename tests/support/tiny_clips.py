"""Clips with drawn objects, and a SAM 2 that trains on them in a moment."""
from typing import Any

import torch
from tiny_sam2 import TINY, tiny_sam2_network

from maskforge.models.sam2.model import SAM2
from maskforge.structures import ClipSample

SIDE = 64


def drawn_masks(frames: int, objects: int, *, seed: int = 0, side: int = SIDE) -> torch.Tensor:
    """(T, O, H, W): rectangles that jump about."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(frames, objects, side, side, dtype=torch.bool)
    for mask in masks.flatten(0, 1):
        y, x, height, width = (int(torch.randint(low, high, (), generator=generator))
                               for low, high in ((0, side // 2), (0, side // 2), (8, side // 2), (8, side // 2)))
        mask[y:y + height, x:x + width] = True
    return masks


def clip_sample(masks: torch.Tensor, name: str = 'clip') -> ClipSample:
    count = masks.shape[1]
    meta = dict(video_name=name, source='drawn', frame_names=tuple(f'{t:05d}' for t in range(len(masks))),
                frame_ids=tuple(range(len(masks))), ori_shape=tuple(masks.shape[-2:]), is_image=len(masks) == 1)
    return ClipSample(gt_masks=masks, object_ids=torch.arange(count), metainfo=meta)


def tiny_batch(frames: int = 3, objects: tuple[int, ...] = (2, 1), *, seed: int = 0, side: int = SIDE) -> dict:
    """What collation gives: one clip per entry of ``objects``, uint8 frames that show the objects."""
    clips, samples = [], []
    for number, count in enumerate(objects):
        masks = drawn_masks(frames, count, seed=seed + 10 * number, side=side)
        clips.append((masks.any(1, keepdim=True) * 150 + 50).expand(-1, 3, -1, -1).to(torch.uint8).contiguous())
        samples.append(clip_sample(masks, f'clip {number}'))
    return dict(inputs=clips, data_samples=samples)


def tiny_sam2(*, network: dict | None = None, seed: int = 0, **settings: Any) -> SAM2:
    """A model in training mode without dropout, whose weights depend on ``seed`` and all act."""
    changes = {'memory_dropout': 0., **(network or {})}
    model = SAM2({**TINY, **changes}, **settings)
    model.network.load_state_dict(tiny_sam2_network(seed=seed, **changes).state_dict())
    return model.train()


def losses_of(model: SAM2, batch: dict, *, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return model(**model.data_preprocessor(batch, model.training), mode='loss')


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return sum(value for name, value in losses.items() if name.startswith('loss'))


def gradients(model: SAM2, batch: dict, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Of the parameters that have one."""
    model.zero_grad(set_to_none=True)
    total(losses_of(model, batch, seed=seed)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


#: prompts of one kind only, nothing left to chance
ALWAYS = dict(
    masks=dict(prob_to_use_pt_input_for_train=0.),
    clicks=dict(prob_to_use_pt_input_for_train=1., prob_to_use_box_input_for_train=0.),
    boxes=dict(prob_to_use_pt_input_for_train=1., prob_to_use_box_input_for_train=1.))
ONE_FRAME = dict(num_init_cond_frames_for_train=1, num_frames_to_correct_for_train=1)
