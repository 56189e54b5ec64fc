"""Small but real models of every family, and work of a chosen size for them, for cost_growth.py."""
from collections.abc import Callable

import torch
from deformable_detr import sum_of
from sam2_twins import make_video, our_masks
from torch import nn
from torchvision_twin import MEAN, STD, Sampling, make_scene, our_config, our_samples

from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.video_predictor import VideoPredictor
from maskforge.registry import MODELS

CLASSES = 80
BACKBONE = dict(type='ResNet', depth=18, frozen_stages=1, norm_cfg=dict(type='FrozenBN'))
PREPROCESSOR = dict(type='DetDataPreprocessor', mean=MEAN, std=STD, pad_size_divisor=32)


def deformable_detr(queries: int) -> dict:
    """All decoder layers with losses of their own and refined boxes."""
    return dict(type='DeformableDETR', backbone=BACKBONE, num_classes=CLASSES, with_box_refine=True,
                num_queries=queries, data_preprocessor=PREPROCESSOR)


def mask2former(queries: int) -> dict:
    """Instances, with the published number of sampled points."""
    return dict(type='Mask2Former', backbone=BACKBONE, num_classes=CLASSES, mode='instance', num_queries=queries,
                data_preprocessor=dict(**PREPROCESSOR, pad_mask=True))


def mask_rcnn(queries: int) -> dict:
    """``queries`` are the regions per image that the second stage learns from."""
    config = our_config(CLASSES, Sampling(box_samples=queries))
    config['neck']['in_channels'] = [64, 128, 256, 512]
    return {**config, 'backbone': BACKBONE, 'data_preprocessor': dict(**PREPROCESSOR, pad_mask=True)}


FAMILIES = {'Deformable DETR': deformable_detr, 'Mask2Former': mask2former, 'Mask R-CNN': mask_rcnn}


def training_step(family: str, *, side: int, queries: int, objects: int, batch: int) -> Callable[[], None]:
    """Losses and gradients of one batch of square images; the weights stay."""
    torch.manual_seed(0)
    model = MODELS.build(FAMILIES[family](queries)).train()
    images, targets = make_scene((side, side), images=batch, objects=objects)

    def step() -> None:
        data = dict(inputs=images, data_samples=our_samples(targets, (side, side)))
        model.zero_grad()
        sum_of(model(**model.data_preprocessor(data, True), mode='loss')).backward()
    return step


def tracking(*, side: int, frames: int, objects: int) -> Callable[[], None]:
    """SAM 2 (tiny) from the first frame of a video to its last."""
    torch.manual_seed(0)
    network = SAM2Network(arch='tiny', image_size=side).eval()
    nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 2.)  # objects are visible
    video, predictor = make_video(side, frames=frames, objects=objects, prompt='click'), VideoPredictor(network)
    return lambda: our_masks(predictor, video)
