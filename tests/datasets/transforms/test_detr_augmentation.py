"""Every option of the DETR recipe, by what it does to image, boxes and batch."""
import copy

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maskforge.datasets.transforms import (
    Compose,
    DETRTestTransform,
    DETRTrainTransform,
    FixedPad,
    ShortSideResize,
)
from maskforge.datasets.transforms.short_side_resize import short_side_size
from maskforge.export.preprocessing import find_resize
from maskforge.layers import DetDataPreprocessor
from maskforge.registry import TRANSFORMS
from maskforge.structures import seeded_sample

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
TINY = dict(scales=[32, 48], random_resize_max_size=70, train_random_resize=[40, 44], train_random_crop_min=20,
            train_random_crop_max=36)


def _run(step, record, seed=0, *, pack=True):
    with seeded_sample(seed):
        return Compose([*LOAD, step, *([dict(type='PackDetInputs')] if pack else [])])(copy.deepcopy(record))


def _sizes(settings, record, seeds=40):
    """(h, w) of the images that come out."""
    step = DETRTrainTransform(**{**TINY, **settings})
    return {tuple(_run(step, record, seed)['inputs'].shape[1:]) for seed in range(seeds)}


@pytest.mark.parametrize(('size', 'side', 'max_size', 'expected'), [
    ((640, 480), 800, 1333, (1066, 800)),  # 1066.67 is cut off, not rounded
    ((480, 640), 800, 1333, (800, 1066)),
    ((1000, 300), 800, 1333, (1333, 400)), ((1001, 300), 800, 1333, (1334, 400)),  # 399.5 first becomes 400
    ((640, 480), 480, None, (640, 480)), ((500, 500), 333, 1333, (333, 333)), ((3000, 10), 800, 30, (300, 1))])
def test_size_rule(size, side, max_size, expected):
    assert short_side_size(*size, side, max_size) == expected
    assert max(short_side_size(*size, side, max_size, strict=True)) == min(max(expected), max_size or 9999)


def test_resize_is_that_of_pillow(record, image_file):
    results = _run(ShortSideResize(33, 70), record, pack=False)
    image = cv2.imread(str(image_file))
    expected = np.asarray(Image.fromarray(image).resize((44, 33), Image.Resampling.BILINEAR))
    assert results['img_shape'] == (33, 44) and (results['img'] == expected).all()
    assert results['scale_factor'] == (44 / 80, 33 / 60)
    assert np.allclose(results['gt_bboxes'][0], np.array([5, 5, 30, 25]) * 0.55, atol=1e-5)
    sharp = _run(ShortSideResize(33, 70, backend='cv2'), record, pack=False)
    assert sharp['img'].shape == expected.shape and (sharp['img'] != expected).any()


def test_scales_and_longest_side(record):
    no_crop = dict(train_random_crop_min=1000, train_random_crop_max=1000)
    assert _sizes(no_crop, record) == {(32, 42), (48, 64), (32, 41), (32, 43), (48, 65), (48, 63)} & \
        _sizes(no_crop, record)
    assert {size[0] for size in _sizes(no_crop, record)} == {32, 48}
    assert {size[0] for size in _sizes(dict(no_crop, scales=[24]), record)} == {24}
    assert max(size[1] for size in _sizes(dict(no_crop, random_resize_max_size=50), record)) == 50


@pytest.mark.parametrize(('probability', 'flips'), [(0.0, {False}), (0.5, {False, True}), (1.0, {True})])
def test_flip_probability(probability, flips, record):
    step = DETRTrainTransform(**TINY, horizontal_flip_prob=probability)
    assert {_run(step, record, seed)['data_samples'].flip for seed in range(12)} == flips


def test_half_of_the_images_are_cropped(record, monkeypatch):
    """The second branch resizes, crops between the two sizes, and resizes again."""
    crop, seen = TRANSFORMS.get('RandomCrop'), []
    original = crop.transform

    def spy(self, results):
        before = results['img'].shape[:2]
        after = original(self, results)
        seen.append((before, results['img'].shape[:2]))
        return after
    monkeypatch.setattr(crop, 'transform', spy)
    step = DETRTrainTransform(**TINY)
    for seed in range(60):
        _run(step, record, seed)
    assert 20 <= len(seen) <= 40
    assert {before for before, _ in seen} == {(40, 53), (44, 58)}
    sides = {side for _, after in seen for side in after}
    assert min(sides) >= 20 and max(sides) <= 36 and len(sides) > 8


def test_boxes_follow_and_empty_crops_are_kept(record):
    step, counts = DETRTrainTransform(**TINY, horizontal_flip_prob=0.0), set()
    for seed in range(40):
        packed = _run(step, record, seed)
        height, width = packed['data_samples'].img_shape
        boxes = packed['data_samples'].gt_instances.bboxes
        assert (boxes[:, 2:] > boxes[:, :2]).all() and (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        counts.add(len(boxes))
    assert counts == {0, 1, 2}


def test_crowds(record):
    for keep, labels in ((False, [2, 1]), (True, [2, 0, 1])):
        step = DETRTrainTransform(**{**TINY, 'train_random_crop_min': 99, 'train_random_crop_max': 99},
                                  keep_crowds=keep)
        sample = _run(step, record)['data_samples']
        assert sample.gt_instances.labels.tolist() == labels
        assert len(sample.ignored_instances.bboxes) == 3 - len(labels)


def test_large_scale_jitter(record):
    step, sizes = DETRTrainTransform(fixed_random_crop=64), []
    for seed in range(60):
        packed = _run(step, record, seed)
        sizes.append(packed['data_samples'].img_shape)
        batch = DetDataPreprocessor()(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))
        assert batch['inputs'].shape == (1, 3, 64, 64)
        assert batch['data_samples'][0].batch_input_shape == (64, 64)
    assert max(map(max, sizes)) == 64 and min(map(min, sizes)) < 16 and len(set(sizes)) > 20


@pytest.mark.parametrize(('turned', 'shape'), [(False, (48, 70)), (True, (70, 48))])
def test_fixed_padding(turned, shape, record, tmp_path):
    if turned:
        cv2.imwrite(str(tmp_path / 'a.png'), cv2.imread(record['img_path']).transpose(1, 0, 2))
        record = dict(record, img_path=str(tmp_path / 'a.png'), width=60, height=80, instances=[])
    step = DETRTrainTransform(**{**TINY, 'train_random_crop_min': 99, 'train_random_crop_max': 99}, fixed_padding=True)
    packed = _run(step, record)
    data = dict(inputs=[packed['inputs']] * 2, data_samples=[packed['data_samples']] * 2)
    batch = DetDataPreprocessor(mean=[100.0] * 3, std=[50.0] * 3)(data)
    sample = batch['data_samples'][0]
    assert batch['inputs'].shape == (2, 3, *shape) and sample.batch_input_shape == shape
    height, width = sample.img_shape
    assert (height, width) == tuple(packed['inputs'].shape[1:]) != shape  # a mask made of img_shape marks the padding
    assert not batch['inputs'][..., height:, :].any() and not batch['inputs'][..., :, width:].any()
    assert sample.pad_shape == (height, width)


def test_fixed_padding_of_a_mixed_batch(record):
    step = FixedPad(40, 100)
    samples = [_run(step, dict(record, instances=[]))['data_samples'] for _ in range(2)]
    samples[1].set_metainfo(dict(min_batch_shape=(100, 40)))
    images = [torch.zeros(3, 20, 30), torch.zeros(3, 30, 20)]
    batch = DetDataPreprocessor(pad_size_divisor=32)(dict(inputs=images, data_samples=samples))
    assert batch['inputs'].shape == (2, 3, 128, 128)


@pytest.mark.parametrize(('settings', 'shape', 'batch', 'rule'), [
    (dict(test_random_resize=30), (30, 40), (30, 40), dict(scale=(1333, 30), keep_ratio=True)),
    (dict(test_random_resize=90, random_resize_max_size=100), (75, 100), (75, 100),
     dict(scale=(100, 90), keep_ratio=True)),
    (dict(test_random_resize=30, random_resize_max_size=50, fixed_padding=True), (30, 40), (30, 50),
     dict(scale=(50, 30), keep_ratio=True)),
    (dict(input_width=96, input_height=32), (32, 96), (32, 96), dict(scale=(96, 32), keep_ratio=False))])
def test_test_transform(settings, shape, batch, rule, record):
    packed = _run(DETRTestTransform(**settings), record)
    assert packed['inputs'].shape == (3, *shape)
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    assert DetDataPreprocessor()(data)['inputs'].shape == (1, 3, *batch)
    assert find_resize([dict(type='LoadImageFromFile'), dict(type='DETRTestTransform', **settings)]) == rule


@pytest.mark.parametrize(('color_type', 'channels'), [('color', 3), ('grayscale', 1)])
def test_grey_mean_and_std(color_type, channels, record):
    steps = [dict(type='LoadImageFromFile', color_type=color_type), dict(type='LoadAnnotations'),
             dict(type='DETRTrainTransform', **TINY), dict(type='PackDetInputs')]
    with seeded_sample(1):
        packed = Compose(steps)(copy.deepcopy(record))
    assert packed['inputs'].shape[0] == channels
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    batch = DetDataPreprocessor(mean=[100.0], std=[50.0], bgr_to_rgb=True)(data)
    expected = (packed['inputs'].float().flip(0) - 100) / 50
    assert torch.allclose(batch['inputs'][0], expected)


@pytest.mark.parametrize(('build', 'message'), [
    (lambda: DETRTrainTransform(fixed_random_crop=500), 'fixed_random_crop=500 .*divisible by 32.*480 and 512'),
    (lambda: DETRTrainTransform(fixed_random_crop=0), 'fixed_random_crop=0'),
    (lambda: DETRTrainTransform(scales=[]), 'sides='),
    (lambda: DETRTrainTransform(train_random_crop_min=9, train_random_crop_max=5), 'crop_size'),
    (lambda: DETRTrainTransform(scales=[800], random_resize_max_size=600, fixed_padding=True), 'short=800, long=600'),
    (lambda: DETRTestTransform(input_width=5), 'input_width and input_height go together'),
    (lambda: DETRTestTransform(input_width=5, input_height=5, fixed_padding=True), 'exclude fixed_padding'),
    (lambda: ShortSideResize([0]), 'positive integers'), (lambda: FixedPad(0, 5), 'short=0')])
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
