"""The stored preprocessing rule gives what the test pipeline and the data preprocessor give."""
import cv2
import numpy as np
import pytest
from mmengine.model import ImgDataPreprocessor

from maskforge.export import Preprocessing
from maskforge.export.preprocessing import describe_preprocessing, find_resize

IMAGE = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)


@pytest.mark.parametrize('rule, shape, factors', [
    (Preprocessing(), (3, 30, 50), (1, 1)),
    (Preprocessing(scale=(100, 60)), (3, 60, 100), (2, 2)),
    (Preprocessing(scale=(100, 60), pad_size_divisor=32), (3, 64, 128), (2, 2)),
    (Preprocessing(scale=(80, 80)), (3, 48, 80), (1.6, 1.6)),
    (Preprocessing(scale=(40, 60), keep_ratio=False), (3, 60, 40), (0.8, 2)),
    (Preprocessing(scale=(100, 60), input_size=(64, 64)), (3, 64, 64), (1.28, 38 / 30)),
    (Preprocessing(keep_ratio=False, input_size=(20, 100)), (3, 20, 100), (2, 20 / 30)),
])
def test_sizes(rule, shape, factors):
    array, found = rule.prepare(IMAGE)
    assert array.shape == shape and array.dtype == np.float32
    assert found == pytest.approx(factors)


def test_portrait_images_use_the_scale_upright():
    assert Preprocessing(scale=(100, 60)).prepare(IMAGE.transpose(1, 0, 2))[0].shape == (3, 100, 60)


def test_padding_normalises_to_zero_and_channels_are_ordered():
    rule = Preprocessing(mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0), pad_size_divisor=32)
    array, _ = rule.prepare(IMAGE)
    assert (array[:, 31, 60] == [1, 2, 3]).all()
    assert (array[:, :30, :50] == IMAGE[..., ::-1].transpose(2, 0, 1)).all()
    outside = Preprocessing(mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0), pad_size_divisor=32, channel_order='BGR',
                            normalized_inside=False).prepare(IMAGE)[0]
    assert (outside[:, 31, 60] == 0).all()
    assert outside[0, 0, 0] == pytest.approx((IMAGE[0, 0, 0] - 1) / 2)


def test_batches_of_several_sizes_are_padded_alike():
    rule = Preprocessing(mean=(1.0, 2.0, 3.0))
    batch = rule.stack([rule.prepare(IMAGE)[0], rule.prepare(IMAGE[:20, :10])[0]])
    assert batch.shape == (2, 3, 30, 50) and (batch[1, :, 25, 5] == [1, 2, 3]).all()


def test_image_of_a_pipeline_is_shrunk_only_if_it_does_not_fit():
    rule = Preprocessing(input_size=(32, 64), channel_order='BGR')
    array, factors = rule.fit(IMAGE)
    assert factors == (1, 1) and (array[:, :30, :50] == IMAGE.transpose(2, 0, 1)).all()
    array, factors = rule.fit(cv2.resize(IMAGE, (128, 32)))
    assert array.shape == (3, 32, 64) and factors == (0.5, 0.5)


def test_round_trip_and_unknown_entries():
    rule = Preprocessing(mean=(1.0, 2.0, 3.0), scale=(10, 20))
    assert Preprocessing.from_metadata(dict(preprocessing=rule.to_metadata())) == rule
    assert Preprocessing.from_metadata(dict(preprocessing=dict(gamma=2))).notes == dict(gamma=2)


def test_description_of_a_preprocessor_and_pipeline():
    pipeline = [dict(type='LoadImageFromFile'), dict(type='mmdet.Resize', scale=(1333, 800), keep_ratio=True)]
    rule = describe_preprocessing(ImgDataPreprocessor(mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True,
                                                      pad_size_divisor=32), pipeline, None)
    assert rule == Preprocessing('RGB', [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [1333, 800], True, 32, None)
    assert find_resize([dict(type='RandomFlip')]) == {}
