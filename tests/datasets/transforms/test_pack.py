"""From results to the model's inputs."""
import numpy as np
import torch

from maskforge.datasets.transforms import Compose, LoadAnnotations, LoadImageFromFile, PackDetInputs, RandomFlip


def test_packed(record):
    pipeline = Compose([LoadImageFromFile(), LoadAnnotations(with_mask=True), RandomFlip(prob=1.), PackDetInputs()])
    packed = pipeline(dict(record))
    sample = packed['data_samples']
    assert packed['inputs'].dtype == torch.uint8 and packed['inputs'].shape == (3, 60, 80)
    assert (packed['inputs'].numpy().transpose(1, 2, 0) == LoadImageFromFile()(dict(record))['img'][:, ::-1]).all()
    assert sample.gt_instances.labels.tolist() == [2, 1] and sample.ignored_instances.labels.tolist() == [0]
    assert sample.gt_instances.bboxes.dtype == torch.float32
    assert sample.gt_instances.masks.areas().tolist() == [500, 225]
    assert sample.ignored_instances.masks.areas().tolist() == [300]
    assert sample.img_id == 7 and sample.flip_direction == 'horizontal' and sample.ori_shape == (60, 80)
    assert 'scale_factor' not in sample.metainfo_keys()


def test_without_annotations_and_with_ones_own(record):
    plain = PackDetInputs(meta_keys=['img_id'])(LoadImageFromFile()(dict(record)))
    assert len(plain['data_samples'].gt_instances) == 0 and plain['data_samples'].metainfo_keys() == ['img_id']
    results = Compose([LoadImageFromFile(), LoadAnnotations()])(dict(record))
    results['gt_depths'] = np.array([1., 2., 3.])
    results['gt_seg_map'] = np.zeros((60, 80), dtype=np.uint8)
    sample = PackDetInputs()(results)['data_samples']
    assert sample.gt_instances.depths.tolist() == [1, 3] and sample.gt_sem_seg.sem_seg.shape == (1, 60, 80)


def test_masks_drawn_ahead(record):
    pipeline = [LoadImageFromFile(), LoadAnnotations(with_mask=True, poly2mask=False)]
    plain, dense = (Compose([*pipeline, PackDetInputs(dense_masks=flag)])(dict(record))['data_samples'].gt_instances
                    for flag in (False, True))
    assert plain.masks._pixels is None and dense.masks._pixels.shape == (2, 60, 10)
    assert torch.equal(dense.masks.to_tensor(), plain.masks.to_tensor()) and dense[1:].masks.areas().tolist() == [225]
    boxes_only = Compose([LoadImageFromFile(), LoadAnnotations(), PackDetInputs(dense_masks=True)])(dict(record))
    assert 'masks' not in boxes_only['data_samples'].gt_instances
