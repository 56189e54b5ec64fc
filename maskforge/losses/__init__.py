"""Losses with MMDetection's names and arguments; all compute in float32."""
from .cross_entropy import CrossEntropyLoss, one_hot
from .dice import dice_loss, squared_dice_loss
from .focal import FocalLoss, sigmoid_focal_loss
from .giou import GIoULoss, paired_giou_loss
from .l1 import L1Loss, SmoothL1Loss, smooth_l1
from .matching import Matches, match
from .mil import box_mil_loss
from .reduction import reduce_loss

__all__ = ['CrossEntropyLoss', 'FocalLoss', 'GIoULoss', 'L1Loss', 'Matches', 'SmoothL1Loss', 'box_mil_loss',
           'dice_loss', 'match', 'one_hot', 'paired_giou_loss', 'reduce_loss', 'sigmoid_focal_loss',
           'smooth_l1', 'squared_dice_loss']
