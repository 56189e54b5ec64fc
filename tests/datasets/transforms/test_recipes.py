"""Whole pipelines: equal seeds give equal samples, global random states stay as they are, arrays stay in step."""
import copy
import pickle
import random

import numpy as np
import pytest
import torch

from maskforge.datasets.transforms import Compose
from maskforge.structures import seeded_sample

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_mask=True, poly2mask=False)]
JITTER = [*LOAD, dict(type='RandomResize', scale=(64, 64), ratio_range=(0.1, 2.0), keep_ratio=True),
          dict(type='RandomCrop', crop_size=(64, 64), recompute_bbox=True, allow_negative_crop=True),
          dict(type='FilterAnnotations', min_gt_bbox_wh=(0.01, 0.01), keep_empty=False),
          dict(type='Pad', size=(64, 64), pad_val=dict(img=(114, 114, 114))), dict(type='RandomFlip', prob=0.5),
          dict(type='PackDetInputs')]
MULTI_SCALE = [*LOAD, dict(type='RandomChoiceResize', scales=[(96, 40), (96, 52), (96, 64)], keep_ratio=True),
               dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
               dict(type='RandomApply', transforms=[dict(type='PhotoMetricDistortion')], prob=0.5),
               dict(type='RandomChoice', transforms=[[dict(type='RandomCrop', crop_size=(0.8, 0.8),
                                                           crop_type='relative_range')],
                                                     [dict(type='RandomGrayscale', prob=0.5, keep_channels=True)]]),
               dict(type='PackDetInputs')]


def prepared(pipeline: Compose, record: dict, seed: int) -> dict | None:
    with seeded_sample(seed):
        return pipeline(copy.deepcopy(record))


@pytest.mark.parametrize('recipe', [JITTER, MULTI_SCALE])
def test_equal_seeds_give_equal_samples(recipe, record):
    different = set()
    for seed in range(12):
        one, two = (prepared(Compose(recipe), record, seed) for _ in range(2))
        assert torch.equal(one['inputs'], two['inputs'])
        for field in ('gt_instances', 'ignored_instances'):
            first, second = one['data_samples'].get(field), two['data_samples'].get(field)
            assert torch.equal(first.bboxes, second.bboxes) and torch.equal(first.labels, second.labels)
            assert (first.masks.to_bitmaps() == second.masks.to_bitmaps()).all()
        different.add(one['inputs'].numpy().tobytes())
    assert len(different) > 8


@pytest.mark.parametrize('recipe', [JITTER, MULTI_SCALE])
def test_nothing_draws_from_the_global_states(recipe, record, monkeypatch):
    # not Python's state as a whole: a type checker may draw from it to choose the items that it looks at
    monkeypatch.setattr(random, 'random', lambda: pytest.fail('drawn from the global state of random'))
    pipeline = Compose(recipe)
    for seed in range(8):
        with seeded_sample(seed):
            before = pickle.dumps(np.random.get_state()), torch.get_rng_state()
            pipeline(copy.deepcopy(record))
            assert pickle.dumps(np.random.get_state()) == before[0]
            assert torch.equal(torch.get_rng_state(), before[1])


def test_large_scale_jitter(record):
    pipeline, shapes = Compose(JITTER), set()
    for seed in range(40):
        packed = prepared(pipeline, record, seed)
        sample, instances = packed['data_samples'], packed['data_samples'].gt_instances
        assert packed['inputs'].shape == (3, 64, 64) and sample.img_shape == (64, 64)
        shapes.add(sample.scale_factor)
        assert (instances.bboxes >= 0).all() and (instances.bboxes <= 64).all()
        assert len(instances.masks) == len(instances.bboxes) == len(instances.labels)
        assert (instances.masks.height, instances.masks.width) == (64, 64)
        for box, bitmap in zip(instances.bboxes.numpy(), instances.masks.to_bitmaps()):
            y, x = np.nonzero(bitmap)
            if len(x):
                assert np.abs(box - [x.min(), y.min(), x.max() + 1, y.max() + 1]).max() < 1.5
    assert len(shapes) > 20


def test_masks_stay_undecoded_until_needed(record):
    """Polygons and RLE travel through the pipeline as they are."""
    masks = prepared(Compose(MULTI_SCALE[:4]), record, 0)['gt_masks']
    assert [type(item).__name__ for item in masks._segmentations] == ['list', 'PickedRle', 'list']
    assert len(pickle.dumps(masks)) < 3000


@pytest.mark.parametrize('poly2mask', [True, False])
def test_pipeline_equals_its_steps_on_bitmaps(record, poly2mask):
    load = [LOAD[0], dict(LOAD[1], poly2mask=poly2mask)]
    steps = [dict(type='Resize', scale=(160, 120)), dict(type='RandomFlip', prob=1.), dict(type='Pad', size_divisor=32)]
    results = Compose([*load, *steps])(copy.deepcopy(record))
    plain = Compose(load)(copy.deepcopy(record))['gt_masks'].to_bitmaps()
    expected = np.pad(plain.repeat(2, axis=1).repeat(2, axis=2)[:, :, ::-1], ((0, 0), (0, 8), (0, 0)))
    assert (results['gt_masks'].to_bitmaps() == expected).all()
