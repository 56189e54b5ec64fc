import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from maskforge.layers import DetDataPreprocessor
from maskforge.structures import DetDataSample, InstanceMasks

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def batch(*sizes):
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 255, (3, *size), dtype=np.uint8)) for size in sizes]
    return dict(inputs=images, data_samples=[DetDataSample(metainfo=dict(img_shape=size)) for size in sizes])


def test_swaps_normalises_and_pads_with_zeros_afterwards():
    data = batch((20, 30), (40, 10))
    out = DetDataPreprocessor(**IMAGENET, bgr_to_rgb=True, pad_size_divisor=32)(data)
    assert out['inputs'].shape == (2, 3, 64, 32)
    red = (data['inputs'][0][2].float() - 123.675) / 58.395
    torch.testing.assert_close(out['inputs'][0, 0, :20, :30], red)
    assert (out['inputs'][0, :, 20:] == 0).all() and (out['inputs'][0, :, :, 30:] == 0).all()
    first, second = out['data_samples']
    assert first.batch_input_shape == second.batch_input_shape == (64, 32)
    assert (first.pad_shape, second.pad_shape) == ((32, 32), (64, 32))


def test_without_normalisation_values_stay_and_the_order_is_bgr():
    data = batch((8, 8))
    preprocessor = DetDataPreprocessor()
    assert torch.equal(preprocessor(data)['inputs'][0], data['inputs'][0].float())
    assert preprocessor.channel_order == 'BGR'


def test_greyscale_with_one_value():
    grey = dict(inputs=[torch.full((1, 4, 4), 128, dtype=torch.uint8)])
    out = DetDataPreprocessor(mean=[128.0], std=[64.0], bgr_to_rgb=True)(grey)
    assert out['inputs'].shape == (1, 1, 4, 4) and out['inputs'].abs().max() == 0


def test_masks_and_maps_are_padded_where_asked():
    data = batch((20, 30), (40, 30))
    for sample, size in zip(data['data_samples'], [(20, 30), (40, 30)]):
        sample.gt_instances = InstanceData(masks=InstanceMasks([[[1.0, 1.0, 5.0, 1.0, 5.0, 5.0]]], *size))
        sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, *size, dtype=torch.uint8))
    out = DetDataPreprocessor(pad_size_divisor=32, pad_mask=True, pad_seg=True)(data)['data_samples'][0]
    assert (out.gt_instances.masks.height, out.gt_instances.masks.width) == (64, 32)
    assert out.gt_sem_seg.sem_seg.shape == (1, 64, 32) and out.gt_sem_seg.sem_seg[0, 63, 31] == 255


def test_a_stacked_batch_and_no_samples_work():
    out = DetDataPreprocessor(pad_size_divisor=16)(dict(inputs=torch.zeros(2, 3, 10, 10, dtype=torch.uint8)))
    assert out['inputs'].shape == (2, 3, 16, 16) and out['data_samples'] is None


def test_has_no_keys_in_checkpoints():
    assert not DetDataPreprocessor(**IMAGENET).state_dict()


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(mean=[1.0]), 'given together'), (dict(mean=[1.0, 2.0], std=[1.0, 2.0]), '1 or 3 values each, got 2 and 2'),
    (dict(mean=[1.0] * 3, std=[1.0]), '1 or 3 values each, got 3 and 1'),
    (dict(mean=[1.0], std=[0.0]), 'std must be positive'),
    (dict(bgr_to_rgb=True, rgb_to_bgr=True), 'exclude each other')])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DetDataPreprocessor(**arguments)
