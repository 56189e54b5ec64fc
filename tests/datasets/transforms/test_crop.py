"""Crops: image, boxes, masks and map stay in step."""
import numpy as np
import pytest

from maskforge.datasets.transforms import RandomCrop
from maskforge.structures import InstanceMasks, seeded_sample

HEIGHT, WIDTH = 40, 50
BOXES = [[2, 2, 12, 12], [20, 10, 44, 38], [30, 30, 34, 34]]
U_SHAPE = [20, 10, 44, 10, 44, 38, 36, 38, 36, 18, 28, 18, 28, 38, 20, 38]


def drawn(boxes=BOXES, with_masks: bool = True) -> dict:
    results = dict(img=np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
                   gt_seg_map=np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH),
                   gt_bboxes=np.array(boxes, dtype=np.float32).reshape(-1, 4), gt_bboxes_labels=np.arange(len(boxes)),
                   gt_ignore_flags=np.arange(len(boxes)) == 1)
    if with_masks:
        rings = [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes]
        if len(rings) > 1:
            rings[1] = [U_SHAPE]
        results['gt_masks'] = InstanceMasks(rings, HEIGHT, WIDTH)
    return results


def cut(transform: RandomCrop, results: dict, window: tuple) -> dict | None:
    transform._random_window = lambda shape: window
    return transform(results)


@pytest.mark.parametrize('seed', range(20))
def test_everything_is_cut_alike(seed):
    transform = RandomCrop(crop_size=(20, 16), allow_negative_crop=True)
    with seeded_sample(seed):
        x0, y0, x1, y1 = transform._random_window((HEIGHT, WIDTH))
    with seeded_sample(seed):
        results = transform(drawn())
    assert results['img'].shape[:2] == results['img_shape'] == (16, 20)
    assert (results['img'] == drawn()['img'][y0:y1, x0:x1]).all()
    assert (results['gt_seg_map'] == drawn()['gt_seg_map'][y0:y1, x0:x1]).all()
    kept = results['gt_bboxes_labels']
    assert (results['gt_masks'].to_bitmaps() == drawn()['gt_masks'].to_bitmaps()[kept, y0:y1, x0:x1]).all()
    assert (results['gt_ignore_flags'] == (kept == 1)).all() and len(results['gt_bboxes']) == len(kept)
    moved = np.clip(np.array(BOXES)[kept].reshape(-1, 4) - [x0, y0, x0, y0], 0, [20, 16, 20, 16])
    assert np.array_equal(results['gt_bboxes'], moved)
    dropped = np.setdiff1d(np.arange(3), kept)
    assert not drawn()['gt_masks'].to_bitmaps()[dropped, y0:y1, x0:x1].any()


def test_an_instance_without_a_pixel_in_the_window_is_dropped():
    window = (29, 20, 35, 36)  # inside the box of the U, between its legs
    assert cut(RandomCrop((6, 16)), drawn(), window)['gt_bboxes_labels'].tolist() == [2]
    assert cut(RandomCrop((6, 16)), drawn(with_masks=False), window)['gt_bboxes_labels'].tolist() == [1, 2]


def test_recompute_bbox():
    window = (14, 20, 34, 40)  # one leg of the U, from x = 20 to 28
    assert cut(RandomCrop((20, 20)), drawn(), window)['gt_bboxes'][0].tolist() == [6, 0, 20, 18]
    assert cut(RandomCrop((20, 20), recompute_bbox=True), drawn(), window)['gt_bboxes'][0].tolist() == [6, 0, 14, 18]


def test_boxes_may_stay_whole():
    window = (25, 0, 50, 40)
    assert cut(RandomCrop((25, 40), bbox_clip_border=False), drawn(), window)['gt_bboxes'][0].tolist() \
        == [-5, 10, 19, 38]


def test_negative_crops():
    window = (14, 2, 18, 8)
    assert cut(RandomCrop((4, 6)), drawn(), window) is None
    kept = cut(RandomCrop((4, 6), allow_negative_crop=True), drawn(), window)
    assert kept['gt_bboxes'].shape == (0, 4) and len(kept['gt_masks']) == 0
    assert cut(RandomCrop((4, 6)), drawn([]), window)['img_shape'] == (6, 4)


@pytest.mark.parametrize('crop_type, crop_size, lowest, highest', [
    ('absolute', (20, 100), (40, 20), (40, 20)), ('absolute_range', (10, 45), (10, 10), (40, 45)),
    ('relative', (0.5, 0.25), (10, 25), (10, 25)), ('relative_range', (0.5, 0.25), (10, 25), (40, 50))])
def test_sizes(crop_type, crop_size, lowest, highest):
    transform, found = RandomCrop(crop_size, crop_type, allow_negative_crop=True), []
    for seed in range(200):
        with seeded_sample(seed):
            found.append(transform(drawn())['img_shape'])
    assert np.allclose(np.min(found, axis=0), lowest, atol=1) and np.allclose(np.max(found, axis=0), highest, atol=1)


@pytest.mark.parametrize('crop_size, crop_type, message', [
    ((1, 1), 'middle', 'crop_type must be one of'), ((2., 3), 'absolute', 'does not fit'),
    ((1.5, 1), 'relative', 'does not fit'), ((9, 5), 'absolute_range', 'does not fit'),
    ((5,), 'absolute', 'does not fit')])
def test_settings_are_checked(crop_size, crop_type, message):
    with pytest.raises(ValueError, match=message):
        RandomCrop(crop_size, crop_type)


def striped(ratio: float) -> tuple[RandomCrop, dict]:
    """The left half is class 0 but for a column of class 1 at its right end; the right half is void."""
    results = dict(img=np.zeros((8, 80, 3), np.uint8), gt_seg_map=np.zeros((8, 80), np.uint8))
    results['gt_seg_map'][:, 36:40], results['gt_seg_map'][:, 40:] = 1, 255
    return RandomCrop((8, 8), cat_max_ratio=ratio), results


@pytest.mark.parametrize('ratio, least, most', [(1.0, 0.05, 0.3), (0.6, 0.15, 0.8), (0.9, 0.5, 0.95)])
def test_windows_that_one_class_fills_are_drawn_again(ratio, least, most):
    mixed = []
    for seed in range(100):
        crop, results = striped(ratio)
        with seeded_sample(seed):
            shown = crop(results)['gt_seg_map']
        ones, labelled = (shown == 1).sum(), (shown != 255).sum()
        mixed.append(labelled > ones > 0 and max(ones, labelled - ones) / labelled < ratio)
    assert least < np.mean(mixed) < most


def test_the_tenth_window_is_taken(monkeypatch):
    crop, results = striped(0.6)
    windows = iter([(left, 0, left + 8, 8) for left in range(20)])
    monkeypatch.setattr(crop, '_random_window', lambda shape: next(windows))
    crop(results)
    assert next(windows)[0] == 10


def test_the_ratio_needs_a_map():
    with pytest.raises(ValueError, match='set with_seg=True in LoadPanopticAnnotations or LoadAnnotations'):
        RandomCrop((4, 4), cat_max_ratio=0.6)({**drawn(), 'gt_seg_map': None})
    with pytest.raises(ValueError, match=r'a share in \(0, 1\], got 1.5'):
        RandomCrop((4, 4), cat_max_ratio=1.5)
