import json
import logging
import math

import cv2
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from PIL import Image

from maskforge.datasets import BoxCropDataset
from maskforge.datasets.box_crop import draw_photometric
from maskforge.datasets.crop_geometry import box_in_window, cut_window, draw_margins, expand_box, resize_crop
from maskforge.datasets.samplers import GroupedBoxSampler
from maskforge.structures import SampleKey, seeded_sample

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def make(tmp_path, image):
    """Two images; builds the data set with ``boxes`` (xywh of the first image) and settings."""
    for name in ('a', 'b'):
        cv2.imwrite(str(tmp_path / f'{name}.png'), image)

    def build(boxes=((10, 12, 20, 16), (5, 5, 10, 10)), extra=(), **settings):
        rows = [dict(id=i + 5, image_id=1, category_id=3, bbox=list(box), area=box[2] * box[3], iscrowd=0,
                     segmentation=[[box[0], box[1], box[0] + box[2], box[1], box[0], box[1] + box[3]]])
                for i, box in enumerate(boxes)]
        rows += [{**dict(id=50 + i, image_id=2, category_id=3, bbox=[2, 2, 30, 30], area=900, iscrowd=0), **more}
                 for i, more in enumerate(extra)]
        (tmp_path / 'a.json').write_text(json.dumps(dict(
            images=[dict(id=i + 1, file_name=f'{n}.png', height=HEIGHT, width=WIDTH) for i, n in enumerate('ab')],
            annotations=rows, categories=[dict(id=3, name='thing')])))
        return BoxCropDataset(**{**dict(ann_file='a.json', data_root=str(tmp_path), data_prefix=dict(img=''),
                                        crop_size=32, min_obj_size=0), **settings})
    return build


def test_expansion_formula():
    box, margins = (10.0, 20.0, 31.0, 45.5), (0.3, 0.0, 0.25, 1.2)
    x, y = 20.5, 32.75
    expected = (math.floor(x - 10.5 * 1.3), math.floor(y - 12.75), math.ceil(x + 10.5 * 1.25 + 1),
                math.ceil(y + 12.75 * 2.2 + 1))
    assert expand_box(box, margins) == expected


def test_margins_share_one_total_an_axis():
    drawn = np.array([draw_margins(np.random.default_rng(seed), (0.0, 1.2)) for seed in range(2000)])
    rng = np.random.default_rng(7)
    amounts, (x, y) = 1.2 * rng.random(4), rng.random(2)
    expected = amounts * [x, y, 1 - x, 1 - y]
    assert draw_margins(np.random.default_rng(7), (0.0, 1.2)) == pytest.approx(expected.tolist())
    assert drawn.min() >= 0 and drawn.max() <= 1.2 and drawn.mean() == pytest.approx(0.3, abs=0.01)


def test_windows_beyond_the_image(image):
    window = (-5, 30, 20, 50)
    wrapped = cut_window(image, window, 'wrap')
    rows, columns = np.arange(30, 50) % HEIGHT, np.arange(-5, 20) % WIDTH
    np.testing.assert_array_equal(wrapped, image[rows[:, None], columns])
    zero = cut_window(image, window, 'zero')
    np.testing.assert_array_equal(zero[:10, 5:], image[30:, :20])
    assert not zero[10:].any() and not zero[:, :5].any()
    assert not cut_window(image, (100, 100, 110, 110), 'zero').any()


def test_resampling(image):
    pillow = np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize_crop(image, 24, 'pil_bicubic'), pillow)
    np.testing.assert_array_equal(resize_crop(image, 24, 'cv2'),
                                  cv2.resize(image, (24, 24), interpolation=cv2.INTER_AREA))
    np.testing.assert_array_equal(resize_crop(image, 80, 'cv2'),
                                  cv2.resize(image, (80, 80), interpolation=cv2.INTER_LINEAR))


def test_test_sample(make, image):
    data = make(test_mode=True, load_mask=True)
    item = data[0]
    sample = item['data_samples']
    window = expand_box((10., 12., 30., 28.), (0.3,) * 4)
    assert sample.crop_box == window and sample.box == (10, 12, 30, 28) and sample.box_area == 320
    assert (sample.ann_id, sample.category_id, sample.img_id, sample.flip) == (5, 3, 1, False)
    assert sample.box_in_crop == pytest.approx(box_in_window((10., 12., 30., 28.), window, 32))
    np.testing.assert_array_equal(item['inputs'].numpy().transpose(1, 2, 0),
                                  resize_crop(cut_window(image, window, 'wrap'), 32, 'cv2'))
    assert sample.gt_instances.masks.to_bitmaps().shape == (1, HEIGHT, WIDTH)
    assert sample.gt_instances.labels.tolist() == [0] and sample.gt_instances.bboxes.tolist() == [[10, 12, 30, 28]]
    assert pseudo_collate([item, data[1]])['inputs'][0].shape == (3, 32, 32)


def test_training_samples_depend_on_their_seed_alone(make):
    data = make()
    crops = []
    for seed in (1, 1, 2):
        with seeded_sample(seed):
            crops.append(data[0])
    assert crops[0]['inputs'].equal(crops[1]['inputs']) and not crops[0]['inputs'].equal(crops[2]['inputs'])
    assert crops[0]['data_samples'].photometric == crops[1]['data_samples'].photometric


def test_flip_mirrors_crop_and_box(make):
    with seeded_sample(3):
        plain = make(flip_prob=0.0)[0]
    with seeded_sample(3):
        mirrored = make(flip_prob=1.0)[0]
    assert mirrored['inputs'].flip(-1).equal(plain['inputs']) and mirrored['data_samples'].flip
    x0, _, x1, _ = plain['data_samples'].box_in_crop
    assert mirrored['data_samples'].box_in_crop[0::2] == pytest.approx((32 - x1, 32 - x0))


def test_wrapped_box_masks_return_after_the_image(make):
    data = make([(2, 4, 50, 30)], test_mode=True, wrap_box_mask=True)
    sample = data[0]['data_samples']
    x0, y0, x1, y1 = sample.crop_box
    assert sample.box_period == pytest.approx((WIDTH * 32 / (x1 - x0), HEIGHT * 32 / (y1 - y0)))
    assert 'box_period' not in make([(2, 4, 50, 30)], test_mode=True)[0]['data_samples'].metainfo


def test_which_boxes_are_taken(make, caplog):
    boxes = [(10, 12, 20, 16), (0, 0, 4, 4), (0, 0, 50, 39), (50, 30, 30, 5), (5, 5, 0, 9)]
    with caplog.at_level(logging.INFO):
        data = make(boxes, extra=[dict(iscrowd=1), {}], min_obj_size=16, max_obj_size=1900)
    assert [data.get_data_info(i)['ann_id'] for i in range(len(data))] == [5, 8, 51]
    assert data.get_data_info(1)['box'] == (50, 30, 60, 35)  # clipped to the image
    assert len(make(boxes, extra=[dict(iscrowd=1)], min_obj_size=16, max_obj_size=1900, test_mode=True)) == 4


def test_one_image_is_decoded_once(make, monkeypatch):
    data = make(extra=[{}])
    reads = []
    read = data._loader.transform
    monkeypatch.setattr(data._loader, 'transform', lambda results: reads.append(results['img_path']) or read(results))
    for key in (0, 1, 0, 2, 2):
        data[key]
    assert len(reads) == 2


def test_photometric_draws_follow_the_recipe():
    drawn = [draw_photometric(np.random.default_rng(seed)) for seed in range(2000)]
    jitter = [one for one in drawn if 'order' in one]
    amounts = np.array([one['amounts'] for one in jitter])
    assert abs(len(jitter) / 2000 - 0.5) < 0.04 and abs(np.mean([one['grey'] for one in drawn]) - 0.2) < 0.03
    blur = np.array([one['blur'] for one in drawn if one['blur'] is not None])
    assert abs(len(blur) / 2000 - 0.5) < 0.04 and blur.min() >= 0.1 and blur.max() <= 2.0
    low, high = np.array([0.6, 0.6, 0.8, -0.1]), np.array([1.4, 1.4, 1.2, 0.1])
    assert (amounts >= low).all() and (amounts <= high).all()
    assert len({tuple(one['order']) for one in jitter}) == 24


@pytest.mark.parametrize('settings, message', [
    (dict(boxes=()), 'none of 0 boxes can be used: there are none'),
    (dict(min_obj_size=2048), '2 not larger than min_obj_size'),
    (dict(extra=[{}], load_mask=True), 'annotation 50 has no segmentation, and load_mask=True'),
    (dict(border='mirror'), "border='mirror' must be one of wrap, zero"),
    (dict(pipeline=[dict(type='Resize')]), 'takes no pipeline')])
def test_bad_settings(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_sampler_keeps_boxes_of_an_image_together(make):
    boxes = [(i, i, 10, 10) for i in range(5)]
    data = make(boxes, extra=[{}, {}, {}])
    orders = set()
    for epoch in range(6):
        sampler = GroupedBoxSampler(data, seed=1)
        sampler.set_epoch(epoch)
        order = [key.index for key in sampler]
        assert sorted(order) == list(range(8))
        images = data.image_of_box()[order]
        assert (np.diff(images) != 0).sum() == 1
        orders.add(tuple(order))
    assert len(orders) == 2


@pytest.mark.parametrize('round_up, expected', [(True, [3, 3, 3]), (False, [3, 3, 2])])
def test_ranks_have_stretches(make, monkeypatch, round_up, expected):
    data = make([(i, i, 10, 10) for i in range(5)], extra=[{}, {}, {}])
    found = []
    for rank in range(3):
        sampler = GroupedBoxSampler(data, shuffle=False, seed=1, round_up=round_up)
        sampler.rank, sampler.world_size = rank, 3
        assert len(sampler) == expected[rank]
        sampler.start = 1
        skipped = list(sampler)
        whole = list(sampler)
        assert skipped == whole[1:] and isinstance(whole[0], SampleKey)
        found += [key.index for key in whole]
    assert found[:8] == list(range(8)) and set(found[8:]) <= {0}


def test_sampler_needs_boxes():
    with pytest.raises(ValueError, match=r'list has no image_of_box\(\)'):
        GroupedBoxSampler([1, 2], seed=0)


@pytest.fixture
def said(monkeypatch):
    """What was logged, as one text."""
    lines = []
    for module in ('record_faults', 'box_crop'):
        monkeypatch.setattr(f'maskforge.datasets.{module}.print_log', lambda text, *_, **__: lines.append(text))
    return lines


def test_left_out_and_clipped_boxes_are_counted(make, said):
    boxes = [(10, 12, 20, 16), (0, 0, 4, 4), (50, 30, 30, 5), (5, 5, 0, 9)]
    make(boxes, extra=[dict(iscrowd=1), {}], min_obj_size=16)
    assert '3 of 6 boxes are used; left out: 1 crowd regions, 1 without extent in their image, 1 not larger than ' \
           'min_obj_size; 1 stick out of their image and are clipped' in ' '.join(said)


def test_a_broken_image(make, tmp_path, said):
    """Training goes on with another box and names the file; a test names it and ends."""
    data, test = make(extra=[{}]), make(extra=[{}], test_mode=True)
    (tmp_path / 'a.png').write_bytes(b'no picture')
    with seeded_sample(3):
        assert data[0]['data_samples'].img_path.endswith('b.png')
    assert 'a.png is skipped (1 broken records so far)' in said[-1]
    with pytest.raises(ValueError, match=r'a\.png'):
        test[0]


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P'])
def test_other_kinds_of_images(make, tmp_path, image, mode):
    Image.fromarray(image).convert(mode).save(tmp_path / 'a.png')
    assert make()[0]['inputs'].shape == (3, 32, 32)


def test_turned_photos_are_turned_back(tmp_path, image):
    """EXIF says a quarter turn; boxes are in the upright frame."""
    upright = Image.fromarray(np.kron(image, np.ones((4, 4, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.rotate(90, expand=True).save(tmp_path / 'a.jpg', exif=exif, quality=95)
    rows = [dict(id=1, image_id=1, category_id=3, bbox=[40, 40, 120, 80], area=9600, iscrowd=0)]
    (tmp_path / 'a.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg', height=HEIGHT * 4, width=WIDTH * 4)], annotations=rows,
        categories=[dict(id=3, name='thing')])))
    found = BoxCropDataset(ann_file='a.json', data_root=str(tmp_path), data_prefix=dict(img=''), crop_size=32,
                           min_obj_size=0, test_mode=True)[0]
    assert found['data_samples'].ori_shape == (HEIGHT * 4, WIDTH * 4)
