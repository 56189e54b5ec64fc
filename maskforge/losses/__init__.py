"""Losses with MMDetection's names and arguments; all compute in float32."""
from .cross_entropy import CrossEntropyLoss, one_hot
from .l1 import L1Loss, SmoothL1Loss, smooth_l1
from .reduction import reduce_loss

__all__ = ['CrossEntropyLoss', 'L1Loss', 'SmoothL1Loss', 'one_hot', 'reduce_loss', 'smooth_l1']
