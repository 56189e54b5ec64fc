"""Small instances are dropped from every array."""
import numpy as np
import pytest

from maskforge.datasets.transforms import FilterAnnotations
from maskforge.structures import InstanceMasks


def drawn() -> dict:
    boxes = [[0, 0, 1, 9], [0, 0, 5, 5], [10, 10, 30, 30]]
    rings = [[0, 0, 1, 0, 1, 9, 0, 9], [0, 0, 2, 0, 2, 2, 0, 2], [10, 10, 30, 10, 30, 30, 10, 30]]
    return dict(gt_bboxes=np.array(boxes, dtype=np.float32), gt_bboxes_labels=np.arange(3),
                gt_ignore_flags=np.zeros(3, dtype=bool), gt_masks=InstanceMasks([[ring] for ring in rings], 40, 40),
                gt_seg_map=np.zeros((40, 40)))


@pytest.mark.parametrize('options, kept', [
    ({}, [1, 2]), (dict(min_gt_bbox_wh=(5, 5)), [2]), (dict(min_gt_bbox_wh=(0, 0)), [0, 1, 2]),
    (dict(by_box=False, by_mask=True, min_gt_mask_area=5), [0, 2]),
    (dict(by_mask=True, min_gt_mask_area=5), [2])])
def test_kept(options, kept):
    results = FilterAnnotations(**options)(drawn())
    assert results['gt_bboxes_labels'].tolist() == kept
    assert len(results['gt_masks']) == len(results['gt_bboxes']) == len(results['gt_ignore_flags']) == len(kept)
    assert results['gt_seg_map'].shape == (40, 40)


def test_nothing_left():
    assert FilterAnnotations(min_gt_bbox_wh=(50, 50))(drawn()) is None
    assert len(FilterAnnotations(min_gt_bbox_wh=(50, 50), keep_empty=False)(drawn())['gt_masks']) == 0
    with pytest.raises(ValueError, match='by_box=True or by_mask=True'):
        FilterAnnotations(by_box=False)


def test_arrays_out_of_step_are_named():
    with pytest.raises(ValueError, match=r"results\['gt_extra'\] has 2 instances, the other gt_\* entries 3"):
        FilterAnnotations()(dict(drawn(), gt_extra=np.zeros(2)))
