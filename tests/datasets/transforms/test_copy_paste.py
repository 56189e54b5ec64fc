"""Copy-paste: pixels, masks and boxes after a paste."""
import numpy as np
import pytest

from maskforge.datasets.transforms import CopyPaste
from maskforge.structures import InstanceMasks, seeded_sample


def picture(boxes, value: int, label: int, ignored=()) -> dict:
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return dict(img=np.full((60, 60, 3), value, dtype=np.uint8), gt_bboxes=boxes,
                gt_bboxes_labels=np.full(len(boxes), label), gt_ignore_flags=np.isin(np.arange(len(boxes)), ignored),
                gt_masks=InstanceMasks([[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes.tolist()],
                                       60, 60))


def pasted(transform: CopyPaste, below: dict, above: dict) -> dict:
    with seeded_sample(3):
        return transform(dict(below, mix_results=[above]))


def test_paste_covers_and_recomputes():
    below = picture([[0, 0, 40, 40], [50, 50, 58, 58], [20, 20, 29, 29]], 10, 1)
    results = pasted(CopyPaste(selected=False), below, picture([[20, 0, 40, 60]], 200, 2))
    assert (results['img'][:, 20:40] == 200).all() and (results['img'][:, :20] == 10).all()
    # the third lies wholly under the paste, the second is far from it
    assert results['gt_bboxes'].tolist() == [[0, 0, 20, 40], [50, 50, 58, 58], [20, 0, 40, 60]]
    assert results['gt_bboxes_labels'].tolist() == [1, 1, 2]
    assert results['gt_masks'].areas().tolist() == [800, 64, 1200]
    assert [type(item) for item in results['gt_masks'].segmentations] == [dict, list, list]
    assert len(results['gt_ignore_flags']) == 3 and 'gt_masks' in results


@pytest.mark.parametrize('thresholds, left', [
    (dict(bbox_occluded_thr=10, mask_occluded_thr=300), 1), (dict(bbox_occluded_thr=10, mask_occluded_thr=900), 0),
    (dict(bbox_occluded_thr=20, mask_occluded_thr=900), 1)])
def test_what_is_left_of_a_covered_instance(thresholds, left):
    results = pasted(CopyPaste(selected=False, **thresholds), picture([[0, 0, 40, 40]], 10, 1),
                     picture([[20, 0, 40, 60]], 200, 2))
    assert (results['gt_bboxes_labels'] == 1).sum() == left


def test_crowds_are_not_pasted_and_subsets_are_drawn():
    above = picture([[i, i, i + 9, i + 9] for i in range(0, 50, 5)], 200, 2, ignored=[0, 1])
    transform, counts = CopyPaste(max_num_pasted=4), set()
    for seed in range(60):
        with seeded_sample(seed):
            chosen = transform._choose(above)
        assert not {0, 1} & set(chosen.tolist())
        counts.add(len(chosen))
    assert counts == {0, 1, 2, 3, 4}
    assert pasted(CopyPaste(), picture([], 1, 1), picture([], 1, 1))['gt_bboxes'].shape == (0, 4)


def test_by_box():
    below, above = picture([[0, 0, 40, 40]], 10, 1), picture([[20, 0, 40, 60]], 200, 2)
    del below['gt_masks'], above['gt_masks']
    with pytest.raises(ValueError, match='needs masks'):
        pasted(CopyPaste(), dict(below), above)
    results = pasted(CopyPaste(selected=False, paste_by_box=True), below, above)
    assert results['gt_bboxes'].tolist() == [[0, 0, 20, 40], [20, 0, 40, 60]] and 'gt_masks' not in results


def test_misuse():
    one = picture([[0, 0, 40, 40]], 10, 1)
    with pytest.raises(ValueError, match='MultiImageMixDataset'):
        CopyPaste()(one)
    with pytest.raises(ValueError, match=r'images of one size, got \(60, 60\) and \(50, 60\)'):
        pasted(CopyPaste(), one, dict(one, img=one['img'][:50]))
    transform = CopyPaste()
    assert transform.get_indexes(range(1)) == 0
