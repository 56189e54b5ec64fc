"""Same weights, same frames: our SAM 2 equals transformers' on images, and along a video.

Weights are random and not degenerate, and travel through the registered layout. transformers writes a conditioning
frame's mask into memory as 0 or 1 where it came from a prompt (``binarize_mask_from_pts_for_mem_enc``), and keeps
memories in bfloat16, with 8 bits of mantissa: a frame that has looked at them differs by up to 1e-3 from one that has
looked at float32. With our memories rounded alike, the difference is that of float32 arithmetic.
"""
from dataclasses import replace

import pytest
import torch
from sam2_twins import SIDE, ours_like, their_image_model, their_video_model, transformers
from torch import nn

from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.structures import Prompts
from maskforge.models.sam2.tracking import remember_frame, track_frame
from maskforge.models.sam2.weights import HuggingFaceSAM2Layout

FRAMES = 5
FEATURES, MASKS, TRACKED = 1e-5, 1e-4, 1e-3
CLICK = [[[30., 20.]]], [[1]]
CLICKS = [[[30., 20.], [50., 45.], [10., 49.]]], [[1, 0, 1]]
BOX = [[[10., 15.], [45., 55.]]], [[2, 3]]


def frames(number: int = FRAMES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(1, 3, SIDE, SIDE, generator=generator)
    return torch.cat([base + 0.5 * torch.randn(1, 3, SIDE, SIDE, generator=generator) for _ in range(number)])


def disc() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing='ij')
    return ((x - 25)**2 + (y - 35)**2 < 225)[None, None].float()


def far(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.numel() == theirs.numel()
    return (ours.detach().flatten() - theirs.flatten()).abs().max().item()


def test_image_features_equal():
    theirs = their_video_model()
    ours, images = ours_like(theirs), frames(2)
    features = ours.encode_images(images)
    s16 = ours.condition(features.s16, MemoryBank(), 0, num_frames=1, initial=True)
    levels = theirs.get_image_embeddings(images)
    differences = [far(mine, level) for mine, level in zip((features.s4, features.s8, s16), levels)]
    assert max(differences) < FEATURES and min(level.std() for level in levels) > 0.1, differences


@pytest.mark.parametrize('prompt', [CLICK, CLICKS, BOX], ids=['click', 'clicks', 'box'])
@pytest.mark.parametrize('dense, multimask, stability', [(False, True, False), (False, False, False),
                                                         (True, False, False), (True, False, True)])
@torch.no_grad()
def test_image_masks_equal(prompt, dense, multimask, stability):
    video = their_video_model()
    theirs, images = their_image_model(video, stability=stability), frames(1)
    ours = ours_like(video, dynamic_multimask_via_stability=stability)
    points, labels = (torch.tensor(part) for part in prompt)
    logits = torch.randn(1, 1, SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(2)) if dense else None
    if prompt is BOX:
        given = dict(input_boxes=points.flatten(1)[None])
    else:
        given = dict(input_points=points[None], input_labels=labels[None])
    wanted = theirs(pixel_values=images, input_masks=logits, multimask_output=multimask, **given)
    features = ours.encode_images(images)
    features = features.with_s16(ours.condition(features.s16, MemoryBank(), 0, num_frames=1, initial=True))
    found = ours.sam_heads(features, Prompts(points, labels, logits), multimask=multimask)
    assert far(found.ungated_low, wanted.pred_masks) < MASKS
    assert far(found.ious, wanted.iou_scores) < FEATURES
    assert far(found.object_scores, wanted.object_score_logits) < MASKS
    assert found.ungated_low.std() > 0.1


def their_tracking(model: nn.Module, images: torch.Tensor, prompts: dict, *, reverse: bool = False) -> list[dict]:
    """What transformers stores of every frame, in the order of tracking; frames of ``prompts`` come first."""
    session = transformers.Sam2VideoInferenceSession(video=images, video_height=SIDE, video_width=SIDE,
                                                     dtype=torch.float32)
    index, outputs = session.obj_id_to_idx(1), []
    for frame in [*prompts, *(frame for frame in order(reverse) if frame not in prompts)]:
        if frame in prompts and isinstance(prompts[frame], torch.Tensor):
            session.add_mask_inputs(index, frame, prompts[frame])
        elif frame in prompts:
            points, labels = (torch.tensor([part]) for part in prompts[frame])
            session.add_point_inputs(index, frame, dict(point_coords=points, point_labels=labels))
        session.obj_with_new_inputs = [1] if frame in prompts else []
        model(session, frame_idx=frame, reverse=reverse)
        kept = session.output_dict_per_obj[index]
        outputs.append(kept['cond_frame_outputs' if frame in prompts else 'non_cond_frame_outputs'][frame])
    return outputs


def order(reverse: bool) -> list[int]:
    return list(range(FRAMES))[::-1] if reverse else list(range(FRAMES))


@torch.no_grad()
def our_tracking(network: SAM2Network, images: torch.Tensor, prompts: dict, *, rounded: bool,
                 reverse: bool = False) -> list:
    bank, outputs = MemoryBank(), []
    for frame in [*prompts, *(frame for frame in order(reverse) if frame not in prompts)]:
        given = prompts.get(frame)
        masks = given if isinstance(given, torch.Tensor) else None
        points = None if given is None or masks is not None else Prompts(*(torch.tensor(part) for part in given))
        features = network.encode_images(images[frame:frame + 1])
        output = track_frame(network, features, bank, frame, num_frames=FRAMES, initial=given is not None,
                             prompts=points, masks=masks, reverse=reverse)
        if masks is not None:
            # transformers makes a mask prompt's pointer from the best of several masks, the release (and we) from
            # the single one
            again = network.sam_heads(features, Prompts(masks=network.mask_downsample(masks)), multimask=True)
            output = replace(output, pointers=again.pointers)
        # transformers takes a mask prompt for a mask from points, too
        memory = remember_frame(network, features, output, bank, frame, conditioning=given is not None,
                                from_points=given is not None)
        outputs.append((output, memory))
        if rounded:
            memory.spatial = memory.spatial.bfloat16()
    return outputs


def differences(ours: list, theirs: list[dict]) -> tuple[list[float], list[float]]:
    """Of low-resolution masks and of pointers, by frame."""
    return ([far(output.masks_low, wanted['pred_masks']) for (output, _), wanted in zip(ours, theirs)],
            [far(output.pointers, wanted['object_pointer']) for (output, _), wanted in zip(ours, theirs)])


PROMPTED = dict(click={0: tuple(CLICK)}, clicks={0: tuple(CLICKS)}, box={0: tuple(BOX)}, mask={0: disc()},
                later_click={1: tuple(CLICK), 3: tuple(CLICKS)})


def compare(theirs: nn.Module, prompts: dict, *, reverse: bool = False, **changes) -> list:
    ours, images = ours_like(theirs, **changes), frames()
    wanted = their_tracking(theirs, images, prompts, reverse=reverse)
    masks, pointers = differences(our_tracking(ours, images, prompts, rounded=False, reverse=reverse), wanted)
    assert masks[0] < MASKS and max(pointers[:1]) < MASKS and max(masks) < TRACKED and max(pointers) < TRACKED
    alike = our_tracking(ours, images, prompts, rounded=True, reverse=reverse)
    masks, pointers = differences(alike, wanted)
    assert max(masks) < MASKS and max(pointers) < MASKS, (masks, pointers)
    return alike


@pytest.mark.parametrize('version', ['2.1', '2.0'])
@pytest.mark.parametrize('prompt', PROMPTED)
def test_tracking_equals(prompt, version):
    tracked = compare(their_video_model(version=version), PROMPTED[prompt], version=version)
    assert all(output.masks_low.std() > 0.1 for output, _ in tracked)


def test_tracking_backwards():
    compare(their_video_model(), {4: tuple(CLICK), 2: disc()}, reverse=True)


@pytest.mark.parametrize('version', ['2.1', '2.0'])
def test_absent_object(version):
    theirs = their_video_model(version=version, seed=1)  # not the one that other tests share
    theirs.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(-20.)
    tracked = compare(theirs, PROMPTED['mask'], version=version)
    # the first frame is a mask prompt, which says itself that the object is there
    assert [bool(output.masks_high.max() == -1024) for output, _ in tracked] == [False] + [True] * (FRAMES - 1)


def test_short_memory_is_the_same():
    theirs = their_video_model(num_maskmem=3, max_object_pointers_in_encoder=2)
    compare(theirs, PROMPTED['click'], num_maskmem=3, max_obj_ptrs_in_encoder=2)


@pytest.mark.parametrize('version, tensors', [('2.1', 359), ('2.0', 356)])
def test_layout_holds_every_tensor_both_ways(version, tensors):
    theirs = their_video_model(version=version)
    ours = ours_like(theirs, version=version)
    back = HuggingFaceSAM2Layout().from_ours(ours.state_dict(), ours)
    wanted = theirs.state_dict()
    assert back.keys() == wanted.keys() and len(ours.state_dict()) == tensors
    assert all(torch.equal(back[name], value) for name, value in wanted.items())
