import numpy as np
import pytest
import torch
from tiny_sam2 import tiny_sam2_network

from maskforge.models.sam2 import automatic_masks
from maskforge.models.sam2.automatic_masks import AutomaticMaskGenerator
from maskforge.models.sam2.point_grids import crop_boxes, layer_grids, point_grid
from maskforge.structures import InstanceMasks

SIZE = (48, 80)
ALL = dict(points_per_side=3, pred_iou_thresh=-1., stability_score_thresh=0., box_nms_thresh=1.)


@pytest.fixture(scope='module')
def network():
    return tiny_sam2_network(image_size=32).eval()


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.fixture(scope='module')
def everything(network, image):
    return AutomaticMaskGenerator(network, **ALL).generate(image)


def test_grids_and_crops():
    assert point_grid(2).tolist() == [[.25, .25], [.75, .25], [.25, .75], [.75, .75]]
    assert [len(grid) for grid in layer_grids(8, 2, 2)] == [64, 16, 4]
    crops = crop_boxes((60, 100), 1, 0.5)
    # the first layer overlaps by half of the shorter side, 30 pixels
    assert crops == [((0, 0, 100, 60), 0), ((0, 0, 65, 45), 1), ((0, 15, 65, 60), 1), ((35, 0, 100, 45), 1),
                     ((35, 15, 100, 60), 1)]
    with pytest.raises(ValueError, match='0 points per side'):
        point_grid(0)


def test_records(everything):
    assert 0 < len(everything) <= 27
    for one in everything:
        mask = InstanceMasks.from_rles([one['segmentation']])
        x, y, width, height = one['bbox']
        assert one['segmentation']['size'] == list(SIZE) and isinstance(one['segmentation']['counts'], str)
        assert one['area'] == mask.areas()[0] > 0 and mask.bboxes()[0].tolist() == [x, y, x + width, y + height]
        assert one['crop_box'] == [0, 0, 80, 48] and 0 <= one['stability_score'] <= 1
        assert round(one['point_coords'][0][0], 3) in (13.333, 40, 66.667)
    ious = [one['predicted_iou'] for one in everything]
    assert ious == sorted(ious, reverse=True)


@pytest.mark.parametrize('mode', ['binary_mask', 'uncompressed_rle'])
def test_other_forms_are_the_same_masks(network, image, everything, mode):
    found = AutomaticMaskGenerator(network, output_mode=mode, **ALL).generate(image)
    for one, other in zip(everything, found, strict=True):
        want = InstanceMasks.from_rles([one['segmentation']]).to_bitmaps()[0]
        mask = other['segmentation']
        assert (want == (mask if mode == 'binary_mask' else InstanceMasks.from_rles([mask]).to_bitmaps()[0])).all()


def test_thresholds_leave_out_masks(network, image, everything):
    ious = sorted(one['predicted_iou'] for one in everything)
    middle = ious[len(ious) // 2]
    sure = AutomaticMaskGenerator(network, **{**ALL, 'pred_iou_thresh': middle}).generate(image)
    assert [one['predicted_iou'] for one in sure] == [iou for iou in reversed(ious) if iou > middle]
    steady = AutomaticMaskGenerator(network, **{**ALL, 'stability_score_thresh': 1.1}).generate(image)
    assert steady == []
    apart = AutomaticMaskGenerator(network, **{**ALL, 'box_nms_thresh': 0.1}).generate(image)
    assert 0 < len(apart) < len(everything)


def test_other_settings_act(network, image, everything):
    offset = AutomaticMaskGenerator(network, stability_score_offset=0., **ALL).search(image)
    assert (offset.stability == 1).all()
    one = AutomaticMaskGenerator(network, multimask_output=False, **ALL).generate(image)
    assert 0 < len(one) <= 9
    again = AutomaticMaskGenerator(network, use_m2m=True, **ALL).generate(image)
    assert [r['predicted_iou'] for r in again] != [r['predicted_iou'] for r in everything]
    grid = AutomaticMaskGenerator(network, point_grids=[np.array([[.5, .5]])], **ALL).generate(image)
    assert {tuple(one['point_coords'][0]) for one in grid} == {(40., 24.)}
    small = AutomaticMaskGenerator(network, points_per_batch=2, **ALL).generate(image)
    assert [r['predicted_iou'] for r in small] == pytest.approx([r['predicted_iou'] for r in everything], abs=1e-5)
    low = AutomaticMaskGenerator(network, mask_threshold=-1e6, **ALL).search(image)
    assert (torch.from_numpy(low.masks.areas()) == 48 * 80).all()


def test_masks_that_go_on_outside_of_their_crop_are_left_to_others():
    crop, size = (0, 0, 60, 48), (48, 80)
    boxes = torch.tensor([[5., 5, 30, 30], [5, 5, 55, 30], [0, 0, 20, 48]])
    assert automatic_masks._cut_off(boxes, crop, size).tolist() == [False, True, False]
    assert not automatic_masks._cut_off(boxes, (0, 0, 80, 48), size).any()


def test_crops_and_small_regions(network, image, monkeypatch):
    monkeypatch.setattr(automatic_masks, 'BORDER', -1.)  # masks of an untrained network fill their crops
    found = AutomaticMaskGenerator(network, crop_n_layers=1, crop_n_points_downscale_factor=2, crop_nms_thresh=1.,
                                   **ALL).search(image)
    assert len({tuple(crop) for crop in found.crops.tolist()}) > 1
    for mask, crop in zip(found.masks.to_bitmaps(), found.crops.int().tolist()):
        outside = mask.copy()
        outside[crop[1]:crop[3], crop[0]:crop[2]] = False
        assert not outside.any()
    fewer = AutomaticMaskGenerator(network, crop_n_layers=1, crop_nms_thresh=0.1, **ALL).search(image)
    assert 0 < len(fewer) < len(found)
    tidy = AutomaticMaskGenerator(network, min_mask_region_area=48 * 80, **ALL).search(image)
    assert all(area > 0 for area in tidy.masks.areas())


@pytest.mark.parametrize('settings, message', [
    (dict(output_mode='png'), "output_mode='png' is not one of coco_rle"),
    (dict(crop_n_layers=1, point_grids=[np.zeros((1, 2))]), 'point_grids has 1 grids; .*take 2'),
])
def test_bad_settings_are_named(network, settings, message):
    with pytest.raises(ValueError, match=message):
        AutomaticMaskGenerator(network, **settings)
