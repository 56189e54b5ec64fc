"""A tiny Mask R-CNN and samples to feed it."""
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import nn

from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, InstanceMasks


@MODELS.register_module(force=True)
class TinyBackbone(nn.Module):
    """Four levels of 8, 8, 16 and 16 channels at strides 4 to 32."""

    out_channels, strides = (8, 8, 16, 16), (4, 8, 16, 32)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 4, 1)
        self.downs = nn.ModuleList([nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)])

    def forward(self, images):
        levels = [self.stem(images).relu()]
        for down in self.downs:
            levels.append(down(levels[-1]).relu())
        return tuple(levels)


def tiny_config(num_classes=3, **changes):
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.3, match_low_quality=True)
    roi = dict(type='SingleRoIExtractor', out_channels=8, featmap_strides=[4, 8, 16, 32])
    loss = dict(type='CrossEntropyLoss')
    config = ConfigDict(
        type='MaskRCNN',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True,
                               pad_size_divisor=32),
        backbone=dict(type='TinyBackbone'),
        neck=dict(type='FPN', in_channels=[8, 8, 16, 16], out_channels=8, num_outs=5),
        rpn_head=dict(
            type='RPNHead', in_channels=8, feat_channels=8,
            anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0],
                                  strides=[4, 8, 16, 32, 64]),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(**loss, use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(**roi, roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)),
            bbox_head=dict(type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, roi_feat_size=7,
                           num_classes=num_classes,
                           bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                           loss_cls=dict(**loss), loss_bbox=dict(type='L1Loss')),
            mask_roi_extractor=dict(**roi, roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0)),
            mask_head=dict(type='FCNMaskHead', num_convs=2, in_channels=8, conv_out_channels=8,
                           num_classes=num_classes, loss_mask=dict(**loss, use_mask=True))),
        train_cfg=dict(
            rpn=dict(assigner={**assigner, 'pos_iou_thr': 0.7, 'neg_iou_thr': 0.3},
                     sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5, add_gt_as_proposals=False)),
            rpn_proposal=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(assigner=assigner, sampler=dict(type='RandomSampler', num=16, pos_fraction=0.25), mask_size=28)),
        test_cfg=dict(
            rpn=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)))
    return config


def make_sample(boxes, labels, size=(96, 128), *, ignored=(), scale=(1.0, 1.0)):
    """One image and its sample; masks are the boxes as polygons."""
    polygons = [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes]
    truth = InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                         labels=torch.tensor(labels, dtype=torch.long), masks=InstanceMasks(polygons, *size))
    regions = InstanceData(bboxes=torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4))
    original = round(size[0] / scale[1]), round(size[1] / scale[0])
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=original, scale_factor=scale),
                           gt_instances=truth, ignored_instances=regions)
    image = np.random.default_rng(len(boxes)).integers(0, 255, (3, *size), dtype=np.uint8)
    return torch.from_numpy(image), sample


def make_batch(*samples):
    images, samples = zip(*samples)
    return dict(inputs=list(images), data_samples=list(samples))
