"""Our video predictor gives transformers' masks of a short video: clicks, a box, a mask, an object that comes later.

transformers keeps memories in bfloat16 and binarises prompted masks, so ours does here. Memories that differ in the
last bit before the rounding may differ by a step of bfloat16 (2^-8) after it; hence 1e-3 of the largest logit for
frames that looked at memories, and 1e-4 for those that did not.
"""
import numpy as np
import pytest
import torch
from sam2_twins import SIDE, ours_like, their_video_model
from torch.nn import functional as F

from maskforge.models.sam2.image_predictor import ImagePredictor
from maskforge.models.sam2.video_predictor import VideoPredictor

Sam2VideoInferenceSession = pytest.importorskip(
    'transformers.models.sam2_video.modeling_sam2_video').Sam2VideoInferenceSession

FRAMES = 4
CLICKS = dict(point_coords=[[30., 20.], [60., 50.]], point_labels=[1, 0])
CLICK = dict(point_coords=[[40., 30.]], point_labels=[1])
BOX = [10., 12., 45., 55.]


@pytest.fixture(scope='module')
def models():
    theirs = their_video_model()
    return theirs, ours_like(theirs)


def video():
    rng = np.random.default_rng(7)
    base = rng.integers(0, 200, (SIDE, SIDE, 3))
    return [(base + rng.integers(0, 56, (SIDE, SIDE, 3))).astype(np.uint8) for _ in range(FRAMES)]


def disk():
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (columns - 25) ** 2 + (rows - 35) ** 2 < 200


def our_session(network):
    return VideoPredictor(network, binarize_prompted=True, memory_dtype='bfloat16', history=None).open(video())


def their_session(theirs, session):
    images = [session.source.scaling.images(torch.from_numpy(frame.transpose(2, 0, 1).copy())[None],
                                            torch.device('cpu')) for frame in video()]
    return Sam2VideoInferenceSession(video=torch.cat(images), video_height=SIDE, video_width=SIDE, dtype=torch.float32)


def give(ours, theirs, frame, number, *, points=None, box=None, mask=None):
    row = theirs.obj_id_to_idx(number)
    if mask is not None:
        ours.add_mask(frame, number, mask)
        theirs.add_mask_inputs(row, frame, torch.from_numpy(mask)[None, None].float())
    else:
        ours.add_points_or_box(frame, number, **(points or {}), box=box)
        coords = torch.tensor(([box[:2], box[2:]] if box else []) + (points or {}).get('point_coords', []))
        labels = torch.tensor(([2, 3] if box else []) + (points or {}).get('point_labels', []))
        theirs.add_point_inputs(row, frame, dict(point_coords=coords[None, None], point_labels=labels[None, None]))
    theirs.obj_with_new_inputs.append(number)


def compare(ours, theirs, *, tolerance):
    wanted = F.interpolate(theirs.float(), size=(SIDE, SIDE), mode='bilinear', align_corners=False)[:, 0]
    assert wanted.std() > 0.01
    assert float((ours - wanted).abs().max() / wanted.abs().max()) < tolerance


@pytest.mark.parametrize('reverse', [False, True])
@torch.no_grad()
def test_a_short_video_with_all_kinds_of_prompts(models, reverse):
    model, network = models
    ours = our_session(network)
    theirs, first = their_session(model, ours), FRAMES - 1 if reverse else 0
    give(ours, theirs, first, 1, points=CLICK)
    give(ours, theirs, first, 2, points=CLICKS, box=BOX)
    give(ours, theirs, first, 3, mask=disk())
    model(theirs, frame_idx=first)
    frames = list(ours.propagate(reverse=reverse))
    found = list(model.propagate_in_video_iterator(theirs, start_frame_idx=first, reverse=reverse))
    assert [one.frame for one in frames] == [one.frame_idx for one in found]
    assert len(frames) == FRAMES
    for place, (mine, wanted) in enumerate(zip(frames, found)):
        compare(mine.logits, wanted.pred_masks, tolerance=1e-3 if place else 1e-4)
        torch.testing.assert_close(mine.scores, wanted.object_score_logits.sigmoid().flatten(), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_an_object_that_comes_later(models):
    model, network = models
    ours = our_session(network)
    theirs = their_session(model, ours)
    give(ours, theirs, 0, 1, mask=disk())
    model(theirs, frame_idx=0)
    found = [model(theirs, frame_idx=frame) for frame in (0, 1)]
    frames = list(ours.propagate(max_frames=2))
    give(ours, theirs, 2, 2, points=CLICK)
    # the first object is tracked there while the second is prompted
    found += [model(theirs, frame_idx=frame) for frame in (2, 3)]
    frames += list(ours.propagate(2))
    assert [len(one) for one in frames] == [1, 1, 2, 2]
    for mine, wanted in zip(frames, found):
        compare(mine.logits, wanted.pred_masks, tolerance=1e-3)


@torch.no_grad()
def test_image_predictor(models):
    model, network = models
    predictor = ImagePredictor(network)
    predictor.set_image(video()[0])
    ours = our_session(network)
    theirs = their_session(model, ours)
    give(ours, theirs, 0, 1, points=CLICKS, box=BOX)
    wanted = model(theirs, frame_idx=0).pred_masks
    found = predictor.predict(box=BOX, **CLICKS, multimask_output=False, return_logits=True)
    compare(found.masks, wanted, tolerance=1e-4)
