"""Transforms of transforms: errors, draws, test-time augmentation."""
from collections import Counter

import pytest
from mmcv.transforms import BaseTransform, TransformBroadcaster

from maskforge.datasets.transforms import Compose, RandomApply, RandomChoice, RandomFlip
from maskforge.registry import TRANSFORMS
from maskforge.structures import seeded_sample


class Broken(BaseTransform):
    """Raises what it was given."""

    def __init__(self, error: Exception):
        self.error = error

    def transform(self, results: dict) -> dict:
        raise self.error


@pytest.mark.parametrize('error, kind, message', [
    (ValueError('no'), ValueError, r'^Broken, on a/b\.jpg \(img_id 3\): no$'),
    (KeyError('no'), KeyError, r'Broken, on a/b\.jpg \(img_id 3\): no'),
    (FileNotFoundError('no'), FileNotFoundError, '^Broken, on'),
    (UnicodeDecodeError('utf-8', b'a', 0, 1, 'no'), RuntimeError, '^Broken, on'),
    (ZeroDivisionError('no'), RuntimeError, '^Broken')])
@pytest.mark.parametrize('nested', [False, True])
def test_errors_name_transform_and_image(error, kind, message, nested):
    transform = RandomApply([Broken(error)], prob=1.) if nested else Broken(error)
    with pytest.raises(kind, match=message) as caught:
        Compose(transform)(dict(img_path='a/b.jpg', img_id=3))
    assert type(caught.value) is kind


def test_none_ends_the_sample():
    assert Compose([lambda results: None, Broken(ValueError())])({}) is None
    assert Compose(dict(type='Compose', transforms=[dict(type='Pad', size_divisor=32)])).transforms
    with pytest.raises(TypeError, match='callable; got int: 3'):
        Compose([3])


def test_registered_for_configs(record):
    for name in ('LoadImageFromFile', 'RandomFlip', 'Compose', 'TestTimeAug', 'RandomChoice', 'CopyPaste'):
        assert TRANSFORMS.get(name).__module__.startswith('maskforge.')


def counts(transform, count: int = 400) -> Counter:
    found = Counter()
    for seed in range(count):
        with seeded_sample(seed):
            found[transform({}).get('by', 'none')] += 1
    return found


def test_draws():
    a, b = (lambda results: dict(by='a')), (lambda results: dict(by='b'))
    assert counts(RandomApply(a, prob=0.25))['a'] == pytest.approx(100, abs=30)
    assert counts(RandomChoice([[a], [b]], prob=[0.75, 0.25]))['a'] == pytest.approx(300, abs=30)
    assert counts(RandomChoice([a, b]))['a'] == pytest.approx(200, abs=40)
    with pytest.raises(ValueError, match=r'one entry per choice \(2\) and add up to 1, got \[0.5\]'):
        RandomChoice([a, b], prob=[0.5])


def test_draws_can_be_shared_between_images(record):
    load = Compose([dict(type='LoadImageFromFile')])
    img = load(dict(record))['img']
    share = TransformBroadcaster([RandomFlip(prob=0.5)], mapping=dict(img=['a', 'b']), auto_remap=True,
                                 share_random_params=True)
    flipped = 0
    for _ in range(20):
        results = share(dict(a=img, b=img))
        assert (results['a'] == results['b']).all()
        flipped += not (results['a'] == img).all()
    assert 0 < flipped < 20


def test_test_time_augmentation(record):
    transforms = [
        [dict(type='Resize', scale=(40, 30), keep_ratio=True), dict(type='Resize', scale=(80, 60), keep_ratio=True)],
        [dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)],
        [dict(type='PackDetInputs')]]
    pipeline = Compose([dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=transforms)])
    packed = pipeline(record)
    assert [tuple(inputs.shape) for inputs in packed['inputs']] == [(3, 30, 40)] * 2 + [(3, 60, 80)] * 2
    assert [sample.flip for sample in packed['data_samples']] == [True, False, True, False]
    assert [sample.scale_factor for sample in packed['data_samples']] == [(0.5, 0.5)] * 2 + [(1, 1)] * 2
    assert transforms[1][0] == dict(type='RandomFlip', prob=1.)
