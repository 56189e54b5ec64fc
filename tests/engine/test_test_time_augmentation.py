"""Views become one prediction."""
import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import nn

from maskforge.engine.test_time_augmentation import DetTTAModel, flip_boxes, unflip_instances
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, InstanceMasks

H, W = 10, 20


def view(boxes, scores, labels, flip=None, masks=True):
    sample = DetDataSample(metainfo=dict(img_id=3, ori_shape=(H, W), flip=flip is not None, flip_direction=flip))
    instances = InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                             scores=torch.tensor(scores, dtype=torch.float32),
                             labels=torch.tensor(labels, dtype=torch.long))
    if masks:
        bitmaps = np.zeros((len(scores), H, W), bool)
        for bitmap, (x0, y0, x1, y1) in zip(bitmaps, boxes):
            bitmap[y0:y1, x0:x1] = True
        instances.masks = InstanceMasks.from_bitmaps(bitmaps)
    sample.pred_instances = instances
    return sample


def model(**config):
    inner = nn.Identity()
    inner.test_step = None
    return DetTTAModel(config or None, module=inner)


@pytest.mark.parametrize(('direction', 'expected'), [
    ('horizontal', [15, 1, 18, 4]), ('vertical', [2, 6, 5, 9]), ('diagonal', [15, 6, 18, 9])])
def test_flip(direction, expected):
    boxes = torch.tensor([[2.0, 1, 5, 4]])
    assert flip_boxes(boxes, direction, (H, W)).tolist() == [expected]
    upright = unflip_instances(view([[2, 1, 5, 4]], [0.5], [0], flip=direction))
    x0, y0, x1, y1 = expected
    assert upright.masks.to_bitmaps()[0, y0:y1, x0:x1].all() and upright.masks.areas()[0] == 9


def test_unknown_direction():
    with pytest.raises(ValueError, match="got 'sideways'"):
        flip_boxes(torch.zeros(1, 4), 'sideways', (H, W))


def test_views_of_one_object_merge():
    plain = view([[2, 1, 8, 7], [12, 2, 16, 6]], [0.9, 0.3], [0, 1])
    flipped = view([[12, 1, 18, 7], [3, 2, 8, 6]], [0.8, 0.6], [0, 1], flip='horizontal')
    merged, = model().merge_preds([[plain, flipped]])
    found = merged.pred_instances
    assert found.bboxes.tolist() == [[2, 1, 8, 7], [12, 2, 17, 6]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6]) and found.labels.tolist() == [0, 1]
    assert merged.metainfo['img_id'] == 3 and merged.metainfo['flip'] is False
    assert isinstance(found.masks.segmentations[0], dict)


def test_masks_are_voted_by_score():
    views = [view([[2, 2, 8, 8]], [0.5], [0]), view([[2, 2, 8, 8]], [0.4], [0]), view([[2, 2, 8, 7]], [0.6], [0])]
    found = model().merge_preds([views])[0].pred_instances
    assert len(found) == 1 and found.bboxes[0].tolist() == [2, 2, 8, 7]
    assert found.masks.areas()[0] == 36  # 0.9 of 1.5 are for the last row


def test_truth_and_facts_come_from_an_upright_view():
    views = [view([[2, 1, 8, 7]], [0.9], [0], flip='horizontal'), view([[2, 1, 8, 7]], [0.8], [0])]
    for one, x0 in zip(views, (1.0, 2.0)):
        one.gt_instances = InstanceData(bboxes=torch.tensor([[x0, 1, 8, 7]]))
    merged, = model().merge_preds([views])
    assert merged.gt_instances.bboxes[0, 0] == 2.0 and merged.metainfo['flip'] is False
    assert len(views[1].pred_instances) == 1


def test_other_classes_neither_suppress_nor_vote():
    found = model().merge_preds([[view([[2, 2, 8, 8]], [0.5], [0]), view([[2, 2, 8, 7]], [0.6], [1])]])[0]
    assert found.pred_instances.masks.areas().tolist() == [30, 36]


def test_limits():
    boxes = [[0, 0, 4, 4], [5, 0, 9, 4], [10, 0, 14, 4]]
    found = model(nms=dict(type='nms', iou_threshold=0.5), max_per_img=2).merge_preds(
        [[view(boxes, [0.1, 0.3, 0.2], [0, 0, 0])]])[0].pred_instances
    assert found.scores.tolist() == pytest.approx([0.3, 0.2])


@pytest.mark.parametrize('masks', [True, False])
def test_nothing_found(masks):
    found = model().merge_preds([[view([], [], [], masks=masks), view([], [], [], flip='vertical', masks=masks)]])
    assert len(found[0].pred_instances) == 0 and ('masks' in found[0].pred_instances) == masks


def test_boxes_only():
    found = model().merge_preds([[view([[2, 1, 8, 7]], [0.9], [0], masks=False)]])[0]
    assert 'masks' not in found.pred_instances and len(found.pred_instances) == 1


@pytest.mark.parametrize(('config', 'word'), [(dict(nms=dict(type='soft_nms')), "must be 'nms', got 'soft_nms'"),
                                              (dict(nms=dict(iou_thr=0.5)), 'unknown keys iou_thr'),
                                              (dict(max_per_image=3), 'unknown keys max_per_image')])
def test_wrong_config(config, word):
    with pytest.raises(ValueError, match=word):
        model(**config)


@MODELS.register_module()
class ToyDetector(BaseModel):
    """Finds the image's mean value as score, in a fixed box."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for image, data_sample in zip(inputs, data_samples):
            data_sample.pred_instances = InstanceData(bboxes=torch.tensor([[1.0, 1, 5, 5]]),
                                                      scores=image.float().mean()[None] / 255,
                                                      labels=torch.zeros(1, dtype=torch.long))
        return data_samples


def test_from_a_config_with_the_loaders_layout():
    tta = MODELS.build(dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
                            module=dict(type='ToyDetector')))
    metas = [dict(ori_shape=(H, W), flip=flip, flip_direction='horizontal' if flip else None) for flip in (False, True)]
    data = dict(inputs=[[torch.full((3, H, W), value, dtype=torch.uint8)] * 2 for value in (51, 102)],
                data_samples=[[DetDataSample(metainfo=meta) for _ in range(2)] for meta in metas])
    results = tta.test_step(data)
    assert len(results) == 2
    assert results[0].pred_instances.bboxes.tolist() == [[15, 1, 19, 5], [1, 1, 5, 5]]


@pytest.mark.parametrize('fields', [['pred_sem_seg'], ['pred_instances', 'pred_panoptic']])
def test_only_instances_are_merged(fields):
    sample = DetDataSample(metainfo=dict(ori_shape=(8, 8)))
    for name in fields:
        sample.set_field(InstanceData(), name)
    with pytest.raises(ValueError, match=rf"but the model predicts {fields[-1]}\. Test without --tta"):
        model().merge_preds([[sample]])
