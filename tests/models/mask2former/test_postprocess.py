import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskforge.models.mask2former.postprocess import PostprocessSettings, add_predictions
from maskforge.structures import DetDataSample, InstanceMasks, PanopticSegmentation

CLASSES = 5
IS_THING = (True, False, True, False, True)
ALL = ('panoptic', 'instance', 'semantic')
# (batch_input_shape, img_shape, ori_shape)
FRAMES = {
    'nothing to undo': ((32, 64), (32, 64), (32, 64)),
    'padding': ((64, 64), (41, 57), (41, 57)),
    'smaller original': ((64, 64), (41, 57), (20, 28)),
    'larger original': ((64, 96), (60, 93), (101, 155)),
    'other shape': ((32, 64), (30, 44), (57, 41)),
}


def some_case(frames, *, queries: int = 20, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, DetDataSample]:
    """Smooth masks, and queries of which some are sure, some unsure and some 'no object'."""
    rng = torch.Generator().manual_seed(seed)
    padded, inner, original = frames
    coarse = torch.randn(1, queries, 3, 4, generator=rng)
    masks = 6 * F.interpolate(coarse, size=(padded[0] // 4, padded[1] // 4), mode='bicubic')
    classes = 4 * torch.randn(1, queries, CLASSES + 1, generator=rng)
    meta = dict(batch_input_shape=padded, img_shape=inner, ori_shape=original)
    return classes, masks, DetDataSample(metainfo=meta)


def predict(case, *modes: str, strip_bytes: int | None = None, **settings) -> DetDataSample:
    classes, masks, sample = case
    [found] = add_predictions(classes, masks, [sample.clone()], PostprocessSettings(modes, **settings),
                              is_thing=IS_THING, strip_bytes=strip_bytes)
    return found


def resized(images: torch.Tensor, size) -> torch.Tensor:
    return F.interpolate(images[None], size=size, mode='bilinear', align_corners=False)[0]


def in_input(case) -> torch.Tensor:
    """The masks' logits at the size of the image without padding, float64, in one piece."""
    _, masks, sample = case
    height, width = sample.img_shape
    return resized(masks[0].double(), sample.batch_input_shape)[:, :height, :width]


def in_original(case) -> torch.Tensor:
    return resized(in_input(case), case[2].ori_shape)


def assert_same_pixels(found: np.ndarray, want: np.ndarray) -> None:
    # one pixel may lie so near to a threshold that single and double precision disagree
    assert found.shape == want.shape and (found != want).sum() <= 1


def panoptic_by_definition(case, *, threshold=0.5, overlap=0.5, keep_no_object=False):
    """Segments as a map of numbers, with labels, by the definition of the spec: one query after the other."""
    probs = in_original(case).sigmoid()
    classes = case[0][0].double().softmax(-1)
    scores, labels = (classes[:, :-1] if keep_no_object else classes).max(-1)
    kept = [q for q in range(len(probs)) if labels[q] < CLASSES and scores[q] > threshold]
    segments, found, stuff = torch.zeros(probs.shape[1:], dtype=torch.int32), [], {}
    owner = torch.stack([scores[q] * probs[q] for q in kept]).argmax(0)
    for position, q in enumerate(kept):
        mask = (owner == position) & (probs[q] >= 0.5)
        claimed = (probs[q] >= 0.5).sum()
        if not mask.any() or (owner == position).sum() / claimed < overlap:
            continue
        label = int(labels[q])
        if not IS_THING[label] and label in stuff:
            segments[mask] = stuff[label]
            continue
        found.append(label)
        stuff[label] = len(found)
        segments[mask] = len(found)
    return segments.numpy(), found


@pytest.mark.parametrize('frames', FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize('keep_no_object', [False, True])
@pytest.mark.parametrize('seed', range(3))
def test_panoptic_by_definition(frames, keep_no_object, seed):
    case = some_case(frames, seed=seed)
    found = predict(case, 'panoptic', object_mask_threshold=0.5, overlap_threshold=0.5,
                    keep_no_object=keep_no_object).pred_panoptic
    segments, labels = panoptic_by_definition(case, keep_no_object=keep_no_object)
    assert_same_pixels(found.segments, segments)
    assert found.labels.tolist() == labels
    assert found.segments.dtype == np.int32 and found.scores.dtype == np.float32


def instances_by_definition(case, *, topk: int, things_only: bool) -> list[tuple[float, int, np.ndarray]]:
    logits, scores = in_original(case), case[0][0].double().softmax(-1)[:, :-1]
    pairs = sorted(((float(scores[q, k]), q, k) for q in range(len(scores)) for k in range(CLASSES)), reverse=True)
    found = []
    for score, q, k in pairs[:topk]:
        mask = logits[q] > 0
        if mask.any() and (IS_THING[k] or not things_only):
            found.append((score * float(logits[q].sigmoid()[mask].mean()), k, mask.numpy()))
    return sorted(found, key=lambda one: -one[0])


@pytest.mark.parametrize('frames', FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize('modes', [('instance',), ALL])
def test_instances_by_definition(frames, modes):
    case = some_case(frames)
    found = predict(case, *modes, topk_per_image=30).pred_instances
    want = instances_by_definition(case, topk=30, things_only='panoptic' in modes)
    assert len(found) == len(want) > 5
    torch.testing.assert_close(found.scores, torch.tensor([score for score, _, _ in want]), atol=1e-5, rtol=0)
    assert found.labels.tolist() == [label for _, label, _ in want]
    np.testing.assert_array_equal(found.masks.to_bitmaps(), np.stack([mask for _, _, mask in want]))
    np.testing.assert_array_equal(found.bboxes, InstanceMasks.from_bitmaps(found.masks.to_bitmaps()).bboxes())


@pytest.mark.parametrize('frames', FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize('modes', [('semantic',), ('semantic', 'instance')])
def test_semantic_by_definition(frames, modes):
    case = some_case(frames)
    masks = in_input(case) if modes == ('semantic',) else in_original(case)
    scores = torch.einsum('qc,qhw->chw', case[0][0].double().softmax(-1)[:, :-1], masks.sigmoid())
    found = predict(case, *modes).pred_sem_seg.sem_seg
    assert found.dtype == torch.uint8 and found.shape == (1, *frames[2])
    assert_same_pixels(found[0].numpy(), resized(scores, frames[2]).argmax(0).numpy())


@pytest.mark.parametrize('frames', FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize('modes', [ALL, *[(mode,) for mode in ALL]], ids=str)
def test_small_strips_change_nothing(frames, modes):
    case = some_case(frames)
    settings = dict(object_mask_threshold=0.3, overlap_threshold=0.3)
    want = predict(case, *modes, strip_bytes=2**40, **settings)
    for strip_bytes in (1, 90_000):
        found = predict(case, *modes, strip_bytes=strip_bytes, **settings)
        assert found.keys() == want.keys()
        for mode in modes:
            assert_same(found, want, mode)


def assert_same(found: DetDataSample, want: DetDataSample, mode: str) -> None:
    if mode == 'panoptic':
        np.testing.assert_array_equal(found.pred_panoptic.segments, want.pred_panoptic.segments)
        np.testing.assert_array_equal(found.pred_panoptic.scores, want.pred_panoptic.scores)
    elif mode == 'semantic':
        assert torch.equal(found.pred_sem_seg.sem_seg, want.pred_sem_seg.sem_seg)
    else:
        assert torch.equal(found.pred_instances.scores, want.pred_instances.scores)
        assert found.pred_instances.masks.to_rles() == want.pred_instances.masks.to_rles()


def blocks(*rows_columns_label, no_object: float = -9.) -> tuple[torch.Tensor, torch.Tensor, DetDataSample]:
    """Queries with rectangular masks (rows, columns) of certain classes on 4 x 8 pixels, without any resize."""
    masks = torch.full((1, len(rows_columns_label), 4, 8), -20.)
    classes = torch.full((1, len(rows_columns_label), CLASSES + 1), -9.)
    classes[..., -1] = no_object
    for query, (rows, columns, label, logit) in enumerate(rows_columns_label):
        masks[0, query, rows, columns] = 20.
        classes[0, query, label] = logit
    meta = dict(batch_input_shape=(4, 8), img_shape=(4, 8), ori_shape=(4, 8))
    return classes, masks, DetDataSample(metainfo=meta)


LEFT, MIDDLE, RIGHT, EVERYWHERE = slice(0, 2), slice(2, 5), slice(5, 8), slice(0, 8)
ROWS = slice(0, 4)


def test_stuff_is_one_segment_and_things_are_many():
    case = blocks((ROWS, LEFT, 1, 4.), (ROWS, MIDDLE, 2, 9.), (ROWS, RIGHT, 1, 9.))
    found = predict(case, 'panoptic').pred_panoptic
    assert found.segments[0].tolist() == [1, 1, 2, 2, 2, 1, 1, 1]
    assert found.labels.tolist() == [1, 2]
    assert found.scores[0] > 0.9999  # of its better half
    things = blocks((ROWS, LEFT, 2, 9.), (ROWS, MIDDLE, 2, 9.), (ROWS, RIGHT, 1, 9.))
    assert predict(things, 'panoptic').pred_panoptic.labels.tolist() == [2, 2, 1]


def test_a_segment_that_lost_most_of_its_mask_leaves_void():
    case = blocks((ROWS, EVERYWHERE, 0, 1.), (ROWS, MIDDLE, 2, 9.), (ROWS, RIGHT, 4, 9.))
    found = predict(case, 'panoptic').pred_panoptic
    assert found.segments[0].tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    kept = predict(case, 'panoptic', overlap_threshold=0.25).pred_panoptic
    assert kept.segments[0].tolist() == [1, 1, 2, 2, 2, 3, 3, 3]


def test_nothing_found_is_all_void_and_no_instance():
    case = blocks((ROWS, LEFT, 0, 2.), no_object=9.)
    found = predict(case, *ALL, score_threshold=0.5)
    assert isinstance(found.pred_panoptic, PanopticSegmentation)
    assert len(found.pred_panoptic) == 0 and not found.pred_panoptic.segments.any()
    assert len(found.pred_instances) == 0 and found.pred_instances.bboxes.shape == (0, 4)
    assert found.pred_instances.masks.height == 4


def test_no_object_may_win_where_tao_counts():
    case = blocks((ROWS, LEFT, 0, 2.), no_object=2.3)
    assert len(predict(case, 'panoptic', object_mask_threshold=0.4).pred_panoptic) == 0
    assert len(predict(case, 'panoptic', object_mask_threshold=0.4, keep_no_object=True).pred_panoptic) == 1


def test_score_threshold_boxes_and_empty_masks():
    case = blocks((ROWS, LEFT, 0, 9.), (slice(1, 3), MIDDLE, 2, 1.), (slice(0, 0), RIGHT, 4, 9.), no_object=0.)
    everything = predict(case, 'instance').pred_instances
    assert set(everything.labels.tolist()) == {0, 1, 2, 3, 4}  # every class of the two masks that are not empty
    found = predict(case, 'instance', score_threshold=0.5).pred_instances
    assert found.labels.tolist() == [0, 2]
    assert found.bboxes.tolist() == [[0, 0, 2, 4], [2, 1, 5, 3]]
    flat = predict(case, 'instance', score_threshold=0.5, boxes_from_masks=False).pred_instances
    assert flat.bboxes.tolist() == [[0, 0, 0, 0]] * 2


def test_duplicates_of_one_class_go_when_asked():
    case = blocks((ROWS, slice(0, 4), 0, 9.), (ROWS, slice(0, 5), 0, 8.), (ROWS, slice(0, 4), 2, 7.),
                  (ROWS, RIGHT, 0, 6.))
    assert len(predict(case, 'instance', score_threshold=0.5).pred_instances) == 4
    found = predict(case, 'instance', score_threshold=0.5, dedup_iou=0.7).pred_instances
    assert found.labels.tolist() == [0, 2, 0]
    assert found.bboxes[:, 0].tolist() == [0, 0, 5]
    assert len(predict(case, 'instance', score_threshold=0.5, dedup_iou=0.8).pred_instances) == 4


def test_samples_of_a_batch_have_their_own_frames():
    cases = [some_case(frames, seed=seed) for seed, frames in enumerate(
        [((64, 96), (41, 57), (41, 57)), ((64, 96), (60, 93), (101, 155))])]
    classes, masks = (torch.cat([case[part] for case in cases]) for part in (0, 1))
    found = add_predictions(classes, masks, [case[2].clone() for case in cases], PostprocessSettings(ALL),
                            is_thing=IS_THING)
    for sample, case in zip(found, cases):
        for mode in ALL:
            assert_same(sample, predict(case, *ALL), mode)


def test_many_classes_need_two_bytes():
    sample = DetDataSample(metainfo=dict(batch_input_shape=(8, 8), img_shape=(8, 8)))
    classes = torch.full((1, 1, 301), -9.)
    classes[0, 0, 299] = 9
    [found] = add_predictions(classes, torch.zeros(1, 1, 2, 2), [sample], PostprocessSettings(('semantic',)),
                              is_thing=(False,) * 300)
    assert found.pred_sem_seg.sem_seg.dtype == torch.int16 and (found.pred_sem_seg.sem_seg == 299).all()


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(mode=('box',)), r"mode=\('box',\): allowed are panoptic, instance, semantic"),
    (dict(mode=()), 'at least one'),
    (dict(mode=ALL, topk_per_image=0), 'topk_per_image=0 must be at least 1'),
    (dict(mode=ALL, dedup_iou=1.5), 'dedup_iou=1.5 must be in 0 .. 1'),
])
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        PostprocessSettings(**settings)


def test_flags_of_another_number_of_classes():
    classes, masks, sample = some_case(FRAMES['padding'])
    with pytest.raises(ValueError, match='is_thing has 2 flags, the class logits 5 classes'):
        add_predictions(classes, masks, [sample], PostprocessSettings(ALL), is_thing=(True, False))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('frames', FRAMES.values(), ids=FRAMES)
def test_the_device_does_not_matter(frames):
    classes, masks, sample = some_case(frames)
    want = predict((classes, masks, sample), *ALL)
    with torch.autocast('cuda'):
        found = predict((classes.cuda(), masks.cuda(), sample), *ALL)
    assert_same_pixels(found.pred_panoptic.segments, want.pred_panoptic.segments)
    assert_same_pixels(found.pred_sem_seg.sem_seg.numpy(), want.pred_sem_seg.sem_seg.numpy())
    assert found.pred_instances.scores.device.type == 'cpu'
    torch.testing.assert_close(found.pred_instances.scores, want.pred_instances.scores)


MEASURE = """
import resource, sys, time
import torch
from torch.nn import functional as F
from maskforge.models.mask2former.postprocess import PostprocessSettings, add_predictions
from maskforge.structures import DetDataSample
torch.set_num_threads(1)
torch.manual_seed(0)
modes, size, original = sys.argv[1].split(','), (2016, 3008), tuple(map(int, sys.argv[2].split('x')))
masks = F.interpolate(torch.randn(1, 100, 8, 12), size=(504, 752), mode='bilinear').mul_(6)
classes = 4 * torch.randn(1, 100, 134)
meta = dict(batch_input_shape=size, img_shape=(2000, 3000), ori_shape=original)
def run(masks, meta):
    settings = PostprocessSettings(tuple(modes), object_mask_threshold=0.)
    return add_predictions(classes, masks, [DetDataSample(metainfo=meta)], settings, is_thing=(True,) * 133)
run(masks[..., :8, :8].contiguous(), dict(batch_input_shape=(32, 32), img_shape=(32, 32)))
held = int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() // 1024
start = time.process_time()
for sample in run(masks, meta):
    if 'pred_instances' in sample:
        sample.pred_instances.masks.to_rles()
peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))
print((peak - held) // 1024, time.process_time() - start)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/statm').is_file(), reason='needs the memory counters of Linux')
@pytest.mark.parametrize('original', ['2000x3000', '2400x3600', '1000x1500'])
@pytest.mark.parametrize('modes', [ALL, *[(mode,) for mode in ALL]], ids=str)
def test_memory_of_a_large_image(modes, original):
    words = [sys.executable, '-c', MEASURE, ','.join(modes), original]
    mebibytes, seconds = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    print(f'{modes} {original}: {mebibytes} MiB, {float(seconds):.1f} s')
    assert int(mebibytes) < 1024
