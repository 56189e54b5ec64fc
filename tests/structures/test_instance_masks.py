"""InstanceMasks against plain bitmaps: every operation gives what it would give on pixels."""
import pickle

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from torchvision.ops import roi_align

from maskforge.structures import InstanceMasks

HEIGHT, WIDTH = 24, 31
CONCAVE = [2, 2, 28, 2, 28, 20, 20, 20, 20, 8, 10, 8, 10, 20, 2, 20]
RLE_LIST = {'size': [HEIGHT, WIDTH], 'counts': [30, 100, 200, 50, HEIGHT * WIDTH - 380]}

# eighths are exact in binary, so that moving by whole pixels cannot change how a coordinate is rounded
coordinate = st.integers(-40, 300).map(lambda value: value / 8)


@st.composite
def rings(draw):
    return draw(st.lists(coordinate, min_size=6, max_size=12).filter(lambda flat: len(flat) % 2 == 0))


@st.composite
def segmentation(draw):
    if draw(st.booleans()):
        return draw(st.lists(rings(), max_size=3))
    seed = draw(st.integers(0, 1000))
    bitmap = cv2.resize(np.random.default_rng(seed).integers(0, 2, (5, 6), dtype=np.uint8), (WIDTH, HEIGHT),
                        interpolation=cv2.INTER_NEAREST)
    return coco_mask.encode(np.asfortranarray(bitmap))


masks = st.lists(segmentation(), min_size=1, max_size=4).map(lambda items: InstanceMasks(items, HEIGHT, WIDTH))


@st.composite
def windows(draw):
    x = sorted(draw(st.lists(st.integers(0, WIDTH), min_size=2, max_size=2, unique=True)))
    y = sorted(draw(st.lists(st.integers(0, HEIGHT), min_size=2, max_size=2, unique=True)))
    return x[0], y[0], x[1], y[1]


def mixed() -> InstanceMasks:
    return InstanceMasks([[CONCAVE], [], RLE_LIST, [[1, 1, 6, 1, 6, 6], [12, 12, 18, 12, 18, 18]]], HEIGHT, WIDTH)


@given(masks)
@settings(deadline=None, max_examples=60)
def test_rasters_are_those_of_pycocotools(given_masks):
    bitmaps = given_masks.to_bitmaps()
    assert bitmaps.dtype == bool and bitmaps.shape == (len(given_masks), HEIGHT, WIDTH)
    for bitmap, item in zip(bitmaps, given_masks.segmentations):
        if isinstance(item, dict):
            assert (coco_mask.decode(item) == bitmap).all()
        elif item and min(ring.min() for ring in item) >= 0:
            rle = coco_mask.merge(coco_mask.frPyObjects([ring.tolist() for ring in item], HEIGHT, WIDTH))
            assert (coco_mask.decode(rle) == bitmap).all()
    assert (given_masks.areas() == bitmaps.sum((1, 2))).all()


@given(masks, windows())
@settings(deadline=None, max_examples=150)
def test_crop_equals_slicing_and_pad_shows_nothing_more(given_masks, window):
    x0, y0, x1, y1 = window
    cut = given_masks.to_bitmaps()[:, y0:y1, x0:x1]
    cropped = given_masks.crop(window)
    assert (cropped.height, cropped.width) == (y1 - y0, x1 - x0)
    assert (cropped.to_bitmaps() == cut).all()
    padded = np.pad(cut, ((0, 0), (0, 3), (0, 5)))
    assert (cropped.pad((y1 - y0 + 3, x1 - x0 + 5)).to_bitmaps() == padded).all()


@given(masks, st.integers(-40, 40), st.integers(-40, 40))
@settings(deadline=None, max_examples=80)
def test_translate_moves_pixels(given_masks, dx, dy):
    expected = np.zeros((len(given_masks), 60, 60), dtype=bool)
    for i, bitmap in enumerate(given_masks.to_bitmaps()):
        y, x = np.nonzero(bitmap)
        seen = (y + dy >= 0) & (y + dy < 60) & (x + dx >= 0) & (x + dx < 60)
        expected[i, y[seen] + dy, x[seen] + dx] = True
    assert (given_masks.translate(dx, dy, size=(60, 60)).to_bitmaps() == expected).all()


@given(masks, st.sampled_from(['horizontal', 'vertical', 'diagonal']))
@settings(deadline=None, max_examples=60)
def test_flip_twice_is_identity(given_masks, direction):
    twice = given_masks.flip(direction).flip(direction)
    for before, after in zip(given_masks.segmentations, twice.segmentations):
        if isinstance(before, dict):
            assert before == after
        else:
            assert all(np.array_equal(a, b) for a, b in zip(before, after))


@given(masks, st.data())
@settings(deadline=None, max_examples=60)
def test_index_equals_indexing_bitmaps(given_masks, data):
    bitmaps, count = given_masks.to_bitmaps(), len(given_masks)
    chosen = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    order = data.draw(st.lists(st.integers(-count, count - 1), max_size=5))
    for index in (np.array(chosen), torch.tensor(chosen), np.array(order, dtype=np.int64),
                  torch.tensor(order, dtype=torch.long), slice(1, None), slice(None, None, -1)):
        expected = bitmaps[index.numpy() if isinstance(index, torch.Tensor) else index]
        assert (given_masks[index].to_bitmaps() == expected).all()
    assert (given_masks[chosen].to_bitmaps() == bitmaps[np.array(chosen)]).all()
    assert len(given_masks[-1]) == 1 and len(list(given_masks)) == count


@given(masks, st.integers(1, 50), st.integers(1, 50), windows())
@settings(deadline=None, max_examples=60)
def test_rle_moves_as_its_bitmap(given_masks, height, width, window):
    rles = InstanceMasks.from_rles(given_masks.to_rles())
    moved = rles.crop(window).flip('diagonal').resize((height, width)).pad((height + 2, width + 1))
    x0, y0, x1, y1 = window
    for bitmap, got in zip(given_masks.to_bitmaps(), moved.to_bitmaps()):
        part = cv2.flip(bitmap[y0:y1, x0:x1].astype(np.uint8), -1)
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST).reshape(height, width)
        assert (np.pad(part, ((0, 2), (0, 1))) == got).all()


@pytest.mark.parametrize('factor', [2, 3, 0.5])
def test_resize_scales_areas_and_boxes(factor):
    before = mixed()
    after = before.resize((int(HEIGHT * factor), int(WIDTH * factor)))
    scale = after.height / HEIGHT * after.width / WIDTH
    assert after.areas() == pytest.approx(before.areas() * scale, rel=0.15, abs=3)
    assert after.bboxes()[0] == pytest.approx(before.bboxes()[0] * after.width / WIDTH, rel=0.05)


def test_round_trips():
    bitmaps = mixed().to_bitmaps()
    for again in (InstanceMasks.from_bitmaps(bitmaps), InstanceMasks.from_bitmaps(torch.from_numpy(bitmaps)),
                  InstanceMasks.from_bitmaps(bitmaps.astype(np.int64) * 7),
                  InstanceMasks.from_rles(mixed().to_rles()), InstanceMasks(mixed().segmentations, HEIGHT, WIDTH),
                  InstanceMasks([{**rle, 'counts': rle['counts'].decode()} for rle in mixed().to_rles()],
                                HEIGHT, WIDTH)):
        assert (again.to_bitmaps() == bitmaps).all()
    assert (mixed().to_tensor().numpy() == bitmaps).all()
    assert all(isinstance(rle['counts'], bytes) and rle['size'] == [HEIGHT, WIDTH] for rle in mixed().to_rles())


def test_boxes_are_of_what_is_inside():
    assert mixed().bboxes().tolist()[0] == [2, 2, 28, 20]
    assert mixed().bboxes().tolist()[1] == [0, 0, 0, 0]
    # the window holds the two legs of the U and nothing of its arch
    assert mixed()[0].crop((5, 10, 25, 15)).bboxes().tolist() == [[0, 0, 20, 5]]
    assert mixed()[0].crop((11, 10, 19, 15)).bboxes().tolist() == [[0, 0, 0, 0]]
    assert mixed()[2].bboxes().tolist() == coco_bounds(mixed()[2])


def coco_bounds(one: InstanceMasks) -> list:
    y, x = np.nonzero(one.to_bitmaps()[0])
    return [[x.min(), y.min(), x.max() + 1, y.max() + 1]]


def test_no_instances():
    empty = InstanceMasks([], 5, 7)
    assert empty.to_bitmaps().shape == (0, 5, 7) and empty.to_tensor().shape == (0, 5, 7)
    assert empty.areas().shape == (0,) and empty.bboxes().shape == (0, 4) and empty.to_rles() == []
    assert len(empty.resize((10, 10)).flip().crop((0, 0, 3, 3)).pad((4, 4))) == 0
    assert InstanceMasks.from_bitmaps(np.zeros((0, 5, 7))).width == 7
    assert empty.crop_and_resize(np.zeros((0, 4)), [], 28).shape == (0, 28, 28)
    assert len(InstanceMasks.from_rles([], 5, 7)) == 0


def test_as_a_field_of_instance_data():
    data = InstanceData(masks=mixed(), labels=torch.arange(4))
    assert len(data[torch.tensor([True, False, True, False])].masks) == 2
    assert len(data[torch.tensor([3, 3])].masks) == 2
    assert data[torch.zeros(0, dtype=torch.long)].masks.height == HEIGHT
    assert len(InstanceData.cat([data, data]).masks) == 8
    assert len(data[1].masks) == 1


def test_replace_and_cat():
    swapped = mixed().replace([0, 2], mixed()[[1, 3]])
    assert (swapped.to_bitmaps() == mixed().to_bitmaps()[[1, 1, 3, 3]]).all()
    assert len(InstanceMasks.cat([mixed(), mixed()])) == 8
    with pytest.raises(ValueError, match='cannot put'):
        mixed().replace([0], mixed())
    with pytest.raises(ValueError, match=r'one frame.*\(5, 5\)'):
        InstanceMasks.cat([mixed(), InstanceMasks([], 5, 5)])
    with pytest.raises(ValueError, match='one frame'):
        InstanceMasks.cat([])


def test_targets_of_rle_are_those_of_roi_align():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-3, 20, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 18, (40, 2))], axis=1).astype(np.float32)
    inds = rng.integers(0, 4, 40)
    rles = InstanceMasks.from_rles(mixed().to_rles())
    bitmaps = torch.from_numpy(rles.to_bitmaps())[inds, None].float()
    rois = [torch.from_numpy(box[None]) for box in boxes]
    for aligned in (True, False):
        soft = roi_align(bitmaps, rois, 7, 1.0, 0, aligned)[:, 0].numpy()
        got = mixed().crop_and_resize(torch.from_numpy(boxes), torch.from_numpy(inds), 7, soft=True, aligned=aligned)
        assert got.dtype == np.float32 and np.allclose(got, soft, atol=1e-5)
        hard = rles.crop_and_resize(boxes, inds, 7, aligned=aligned)
        clear = np.abs(soft - 0.5) > 1e-5
        assert hard.dtype == bool and (hard == (soft >= 0.5))[clear].all()


def test_targets_of_polygons_are_drawn_in_the_box():
    boxes = np.array([[2, 2, 28, 20], [10, 8, 20, 20], [0, 0, 31, 24]], dtype=np.float32)
    targets = mixed().crop_and_resize(boxes, [0, 0, 0], 24)
    stretched = (np.array(CONCAVE).reshape(-1, 2) - boxes[0, :2]) / (boxes[0, 2:] - boxes[0, :2]) * 24
    assert (targets[0] == InstanceMasks([[stretched.reshape(-1)]], 24, 24).to_bitmaps()[0]).all()
    assert targets[1].sum() == 0
    assert targets[2].mean() == pytest.approx(mixed().areas()[0] / (HEIGHT * WIDTH), abs=0.03)
    from_rle = InstanceMasks.from_rles(mixed().to_rles()).crop_and_resize(boxes, [0, 0, 0], 24)
    assert (targets != from_rle).mean() < 0.05


@pytest.mark.parametrize('item, message', [
    ([[1, 2, 3, 4]], 'instance 1, polygon 0: a polygon needs at least 3 points .* got 2 points'),
    ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]], 'instance 1, polygon 1: .*odd count of 7'),
    ([1, 2, 3, 4, 5, 6], 'instance 1: .*flat list of 6 numbers'),
    ([[1, 2, 3, 4, 5, float('nan')]], 'instance 1, polygon 0: .*finite'),
    ([['a', 'b', 'c', 'd', 'e', 'f']], 'instance 1, polygon 0: expected numbers'),
    ([[[1, 2], [3, 4], [5, 6]]], r'instance 1, polygon 0: .*shape \(3, 2\)'),
    ({'size': [3, 4], 'counts': [12]}, r'instance 1: .*size \(h, w\) = \(3, 4\), the image has \(24, 31\)'),
    ({'counts': [12]}, r"instance 1: .*needs the keys size and counts, got \['counts'\]"),
    ({'size': [HEIGHT, WIDTH], 'counts': [700]}, 'instance 1: .*add up to 24 x 31 = 744, got a sum of 700'),
    ({'size': [HEIGHT, WIDTH], 'counts': [-1, 745]}, 'instance 1: .*non-negative'),
    ({'size': [HEIGHT, WIDTH], 'counts': 5}, 'instance 1: RLE counts must be .* got int'),
    (7, 'instance 1: expected polygons .* got int: 7'),
    ('abc', 'instance 1: expected polygons .* got str'),
    (None, 'instance 1: expected polygons .* got NoneType'),
])
def test_malformed_segmentations_are_named(item, message):
    with pytest.raises(ValueError, match=message):
        InstanceMasks([[CONCAVE], item], HEIGHT, WIDTH)


@pytest.mark.parametrize('call, error, message', [
    (lambda: mixed().flip('sideways'), ValueError, "must be one of horizontal, .* got 'sideways'"),
    (lambda: mixed().crop((0, 0, 40, 5)), ValueError, 'inside the frame'),
    (lambda: mixed().crop((5, 5, 5, 9)), ValueError, 'at least one pixel'),
    (lambda: mixed().pad((5, 5)), ValueError, 'smaller than the frame'),
    (lambda: mixed()[np.array([True])], IndexError, 'does not fit 4 masks'),
    (lambda: mixed()[9], IndexError, 'range'),
    (lambda: InstanceMasks.from_rles([]), ValueError, 'needs height and width'),
    (lambda: InstanceMasks.from_bitmaps(np.zeros((3, 3))), ValueError, r'\(N, H, W\)'),
])
def test_misuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_repr_counts_forms():
    assert repr(mixed()) == 'InstanceMasks(3 as polygons, 1 as RLE, height=24, width=31)'


@given(masks, st.data())
@settings(deadline=None, max_examples=30)
def test_drawn_pixels_are_the_same(given_masks, data):
    drawn, plain = given_masks.with_pixels(), given_masks.to_bitmaps()
    assert (drawn.to_bitmaps() == plain).all() and (drawn.to_tensor().numpy() == plain).all()
    chosen = data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=5))
    extra = data.draw(st.integers(0, 19))
    padded = pickle.loads(pickle.dumps(drawn[chosen].pad((HEIGHT + extra, WIDTH + extra))))
    assert padded._pixels.shape == (len(chosen), HEIGHT + extra, -(-(WIDTH + extra) // 8))
    assert (padded.to_bitmaps() == np.pad(plain[chosen], ((0, 0), (0, extra), (0, extra)))).all()


def test_every_other_change_draws_anew():
    drawn = mixed().with_pixels()
    for change in (lambda m: m.flip(), lambda m: m.resize((48, 62)), lambda m: m.crop((3, 4, 20, 21)),
                   lambda m: m.translate(2, 3), lambda m: InstanceMasks.cat([m, m]), lambda m: m.replace([0], m[1])):
        assert (change(drawn).to_bitmaps() == change(mixed()).to_bitmaps()).all()
    assert drawn[np.zeros(4, bool)].to_tensor().shape == (0, HEIGHT, WIDTH)
    assert mixed()[[]].with_pixels().to_tensor().shape == (0, HEIGHT, WIDTH)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_pixels_are_unpacked_on_the_device():
    on_device = mixed().with_pixels().to_tensor('cuda')
    assert on_device.is_cuda and (on_device.cpu().numpy() == mixed().to_bitmaps()).all()
