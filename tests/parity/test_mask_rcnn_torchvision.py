"""Same weights, same image: our Mask R-CNN with torchvision's conventions switched on equals torchvision's.

Random weights at full architecture and small images; weights travel through the registered layout.
"""
import numpy as np
import pytest
import torch
import torchvision
from mmengine.structures import InstanceData

from maskforge.models.mask_rcnn.weights import TorchvisionRCNNLayout
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, InstanceMasks

CLASSES = 6
# a multiple of 64: torchvision derives an anchor's stride from the image's and the level's sizes
HEIGHT, WIDTH = 128, 192
PROPOSALS, DETECTIONS = 50, 16  # the same on both sides
ALL = 10**6  # so many samples that none is left to chance


def compatible_config(*, version: int, masks: bool = True) -> dict:
    """Mask R-CNN R50-FPN with torchvision's conventions."""
    norm = dict(norm_cfg=dict(type='BN')) if version == 2 else {}
    head = 'Shared4Conv1FCBBoxHead' if version == 2 else 'Shared2FCBBoxHead'
    roi = dict(type='SingleRoIExtractor', out_channels=256, featmap_strides=[4, 8, 16, 32])
    align = dict(type='RoIAlign', sampling_ratio=2, aligned=False)
    smooth = dict(type='SmoothL1Loss', beta=1 / 9)
    sampler = dict(type='RandomSampler', num=ALL, pos_fraction=0.5)
    proposals = dict(nms_pre=1000, max_per_img=PROPOSALS, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=1e-3)
    return dict(
        type='MaskRCNN' if masks else 'FasterRCNN',
        backbone=dict(type='ResNet', depth=50, frozen_stages=-1, norm_eval=True),
        neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5, **norm),
        rpn_head=dict(
            type='RPNHead', in_channels=256, num_convs=version,
            anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0],
                                  strides=[4, 8, 16, 32, 64], round_anchors=True),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=smooth),
        roi_head=dict(
            type='StandardRoIHead', bbox_roi_extractor=dict(**roi, roi_layer=dict(**align, output_size=7)),
            bbox_head=dict(type=head, num_classes=CLASSES, **norm,
                           bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                           loss_cls=dict(type='CrossEntropyLoss'), loss_bbox=smooth),
            **(dict(mask_roi_extractor=dict(**roi, roi_layer=dict(**align, output_size=14)),
                    mask_head=dict(type='FCNMaskHead', num_classes=CLASSES, **norm,
                                   loss_mask=dict(type='CrossEntropyLoss', use_mask=True))) if masks else {})),
        train_cfg=dict(
            rpn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.0),
                     sampler={**sampler, 'add_gt_as_proposals': False}),
            rpn_proposal=proposals,
            rcnn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, match_low_quality=False),
                      sampler=sampler, mask_size=28 if masks else None, mask_target='soft')),
        test_cfg=dict(rpn=proposals, rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5),
                                               max_per_img=DETECTIONS)))


def torchvision_model(*, version: int, masks: bool = True) -> torch.nn.Module:
    """Their model at random weights that give varied, moderate activations."""
    kind = 'maskrcnn' if masks else 'fasterrcnn'
    build = getattr(torchvision.models.detection, f'{kind}_resnet50_fpn{"_v2" if version == 2 else ""}')
    torch.manual_seed(0)
    model = build(weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=HEIGHT, max_size=WIDTH,
                  rpn_pre_nms_top_n_train=1000, rpn_pre_nms_top_n_test=1000,
                  rpn_post_nms_top_n_train=PROPOSALS, rpn_post_nms_top_n_test=PROPOSALS,
                  rpn_batch_size_per_image=ALL, box_batch_size_per_image=ALL, box_detections_per_img=DETECTIONS)
    for name, parameter in model.named_parameters():
        if 'bn3.weight' in name:
            torch.nn.init.constant_(parameter, 0.2)
        elif 'cls_logits.weight' in name or 'cls_score.weight' in name:
            torch.nn.init.normal_(parameter, std=0.1)
        elif 'bbox_pred.weight' in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture(scope='module', params=[
    dict(version=1), dict(version=1, masks=False), pytest.param(dict(version=2), marks=pytest.mark.slow)],
    ids=['mask_v1', 'faster_v1', 'mask_v2'])
def pair(request):
    theirs = torchvision_model(**request.param)
    ours = MODELS.build(compatible_config(**request.param))
    ours.load_state_dict(TorchvisionRCNNLayout().to_ours(theirs.state_dict(), ours))
    return theirs, ours


def scene() -> tuple[list[torch.Tensor], list[dict]]:
    """Two images with true boxes and masks (ellipses and bars)."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, HEIGHT, WIDTH, generator=generator) for _ in range(2)]
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    targets = []
    for boxes in ([[10, 12, 70, 80], [90, 30, 170, 120]], [[30.5, 40.25, 100, 100]]):
        masks = [(((x - (b[0] + b[2]) / 2) / (b[2] - b[0])) ** 2 + ((y - (b[1] + b[3]) / 2) / (b[3] - b[1])) ** 2 < 0.2)
                 for b in boxes]
        targets.append(dict(boxes=torch.tensor(boxes, dtype=torch.float32),
                            labels=torch.arange(1, len(boxes) + 1), masks=torch.stack(masks).to(torch.uint8)))
    return images, targets


def to_samples(targets: list[dict]) -> list[DetDataSample]:
    return [DetDataSample(
        metainfo=dict(img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH), pad_shape=(HEIGHT, WIDTH)),
        gt_instances=InstanceData(bboxes=t['boxes'], labels=t['labels'] - 1,
                                  masks=InstanceMasks.from_bitmaps(t['masks']))) for t in targets]


def test_losses_are_equal(pair):
    theirs, ours = pair
    images, targets = scene()
    theirs.train()
    theirs.backbone.body.eval()  # ours keeps the backbone's batch statistics fixed
    ours.train()
    want = theirs(images, [dict(t) for t in targets])
    batch = theirs.transform(images, None)[0].tensors
    got = ours(batch, to_samples(targets), mode='loss')
    names = dict(loss_objectness='loss_rpn_cls', loss_rpn_box_reg='loss_rpn_bbox', loss_classifier='loss_cls',
                 loss_box_reg='loss_bbox', loss_mask='loss_mask')
    assert {names[name] for name in want} == set(got)
    for theirs_name, value in want.items():
        assert abs(value.item() - got[names[theirs_name]].item()) < 1e-4, theirs_name
        assert value.item() > 0


def test_predictions_are_equal(pair):
    theirs, ours = pair
    images, targets = scene()
    theirs.eval()
    ours.eval()
    with torch.no_grad():
        batch = theirs.transform(images, None)[0].tensors
        features = theirs.backbone(batch)
        boxes, _ = theirs.rpn(theirs.transform(images, None)[0], features)
        want, _ = theirs.roi_heads(features, boxes, [(HEIGHT, WIDTH)] * 2)  # masks before pasting: 28 x 28
        levels = ours.extract_feat(batch)
        proposals = ours.rpn_head.propose(ours.rpn_head(levels), [(HEIGHT, WIDTH)] * 2)
        samples = ours(batch, to_samples(targets), mode='predict')
    for index, (image, sample) in enumerate(zip(want, samples)):
        found = sample.pred_instances
        assert len(image['boxes']) == len(found) > 10
        torch.testing.assert_close(proposals[index], boxes[index], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.bboxes, image['boxes'], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.scores, image['scores'], atol=1e-4, rtol=0)
        assert torch.equal(found.labels, image['labels'] - 1)
        if 'masks' in image:
            rois = torch.cat((torch.full((len(found), 1), float(index)), found.bboxes), dim=1)
            with torch.no_grad():
                probs = ours.roi_head.mask_head.select(ours.roi_head.mask_outputs(levels, rois), found.labels).sigmoid()
            torch.testing.assert_close(probs, image['masks'][:, 0], atol=1e-4, rtol=0)
            assert np.asarray(found.masks.to_bitmaps()).shape == (len(found), HEIGHT, WIDTH)


def test_weights_come_back_unchanged(pair):
    theirs, ours = pair
    layout = TorchvisionRCNNLayout()
    there = layout.from_ours(ours.state_dict(), ours)
    assert there.keys() == theirs.state_dict().keys()
    theirs.load_state_dict(there)
    back = layout.to_ours(there, ours)
    assert all(torch.equal(value, back[name]) for name, value in ours.state_dict().items())
