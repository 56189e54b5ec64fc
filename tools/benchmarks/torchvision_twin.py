"""Our Mask R-CNN R50-FPN with torchvision's conventions, and torchvision's with the same weights."""
from dataclasses import dataclass

import torch
import torchvision
from mmengine.structures import InstanceData
from torch import Tensor, nn

from maskforge.checkpoints import load_weights
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, InstanceMasks

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@dataclass(frozen=True)
class Sampling:
    """How many proposals and training samples there are; ``samples`` of a million leaves none to chance."""

    proposals: int = 1000
    rpn_samples: int = 256
    box_samples: int = 512
    detections: int = 100


def our_config(classes: int, sampling: Sampling) -> dict:
    """The config: float boxes, adaptive RoIAlign and L1 losses give way to torchvision's choices."""
    roi = dict(type='SingleRoIExtractor', out_channels=256, featmap_strides=[4, 8, 16, 32])
    align = dict(type='RoIAlign', sampling_ratio=2, aligned=False)
    smooth = dict(type='SmoothL1Loss', beta=1 / 9)
    nms = dict(type='nms', iou_threshold=0.7)
    proposals = dict(nms_pre=1000, max_per_img=sampling.proposals, nms=nms, min_bbox_size=1e-3)
    rpn_sampler = dict(type='RandomSampler', num=sampling.rpn_samples, pos_fraction=0.5, add_gt_as_proposals=False)
    box_sampler = dict(type='RandomSampler', num=sampling.box_samples, pos_fraction=0.25)
    return dict(
        type='MaskRCNN',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=MEAN, std=STD, pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=50, frozen_stages=-1, norm_eval=True),
        neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
        rpn_head=dict(
            type='RPNHead', in_channels=256,
            anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0],
                                  strides=[4, 8, 16, 32, 64], round_anchors=True),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=smooth),
        roi_head=dict(
            type='StandardRoIHead', bbox_roi_extractor=dict(**roi, roi_layer=dict(**align, output_size=7)),
            bbox_head=dict(type='Shared2FCBBoxHead', num_classes=classes,
                           bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                           loss_cls=dict(type='CrossEntropyLoss'), loss_bbox=smooth),
            mask_roi_extractor=dict(**roi, roi_layer=dict(**align, output_size=14)),
            mask_head=dict(type='FCNMaskHead', num_classes=classes,
                           loss_mask=dict(type='CrossEntropyLoss', use_mask=True))),
        train_cfg=dict(
            rpn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.0),
                     sampler=rpn_sampler),
            rpn_proposal=proposals,
            rcnn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, match_low_quality=False),
                      sampler=box_sampler, mask_size=28, mask_target='soft')),
        test_cfg=dict(rpn=proposals, rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5),
                                               max_per_img=sampling.detections)))


def their_model(classes: int, sampling: Sampling, size: tuple[int, int]) -> nn.Module:
    """torchvision's model at random weights that give varied, moderate activations."""
    torch.manual_seed(0)
    model = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=classes + 1, min_size=min(size), max_size=max(size),
        rpn_pre_nms_top_n_train=1000, rpn_post_nms_top_n_train=sampling.proposals, rpn_pre_nms_top_n_test=1000,
        rpn_post_nms_top_n_test=sampling.proposals, rpn_batch_size_per_image=sampling.rpn_samples,
        box_batch_size_per_image=sampling.box_samples, box_detections_per_img=sampling.detections)
    for name, parameter in model.named_parameters():
        if 'bn3.weight' in name:
            nn.init.constant_(parameter, 0.2)
        elif 'cls_logits.weight' in name or 'cls_score.weight' in name:
            nn.init.normal_(parameter, std=0.1)
        elif 'bbox_pred.weight' in name:
            nn.init.normal_(parameter, std=0.02)
    return model


def make_twins(classes: int, sampling: Sampling, size: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs with the same weights."""
    theirs = their_model(classes, sampling, size)
    ours = MODELS.build(our_config(classes, sampling))
    load_weights(ours, theirs.state_dict())
    return ours, theirs


def make_scene(size: tuple[int, int], *, images: int, objects: int) -> tuple[list[Tensor], list[dict]]:
    """uint8 RGB images of noise, and targets: ellipses with boxes, masks and labels."""
    height, width = size
    generator = torch.Generator().manual_seed(1)
    pictures = [torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
                for _ in range(images)]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    targets = []
    for _ in range(images):
        corner = torch.rand(objects, 2, generator=generator) * torch.tensor([width * 0.6, height * 0.6])
        extent = 16 + torch.rand(objects, 2, generator=generator) * torch.tensor([width * 0.35, height * 0.35])
        boxes = torch.cat([corner, corner + extent], 1)
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = [(((x - c[0]) / e[0]) ** 2 + ((y - c[1]) / e[1]) ** 2) < 0.25 for c, e in zip(center, extent)]
        targets.append(dict(boxes=boxes, labels=torch.arange(objects) % 5 + 1,
                            masks=torch.stack(inside).to(torch.uint8)))
    return pictures, targets


def our_samples(targets: list[dict], size: tuple[int, int]) -> list[DetDataSample]:
    """The targets as our data samples."""
    meta = dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    return [DetDataSample(metainfo=meta, gt_instances=InstanceData(
        bboxes=t['boxes'], labels=t['labels'] - 1, masks=InstanceMasks.from_bitmaps(t['masks']))) for t in targets]


def with_run_lengths(samples: list[DetDataSample]) -> list[DetDataSample]:
    """Encode the masks of predictions, which otherwise waits until somebody reads them."""
    for sample in samples:
        sample.pred_instances.masks.to_rles()
    return samples
