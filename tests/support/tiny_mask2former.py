"""A tiny Mask2Former over drawn shapes: data on disk and a whole config of every mode."""
from pathlib import Path
from typing import Any

from maskforge.datasets.synthetic import DrawnShapes, draw_shapes

MODEL: dict[str, Any] = dict(
    type='Mask2Former', num_classes=5, num_queries=10, hidden_dim=32, mask_dim=16, nheads=2, enc_layers=1,
    enc_feedforward=32, dec_layers=2, dim_feedforward=32, num_points=128, object_mask_threshold=0.3,
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=False, zero_init_residual=False),
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_size_divisor=32, pad_mask=True))


def draw_all(root: Path, *, num_train: int = 6, num_val: int = 3) -> DrawnShapes:
    """Draw small pictures with annotations of all three kinds."""
    return draw_shapes(root, num_train=num_train, num_val=num_val, size=96, max_objects=3, panoptic=True,
                       semantic=True)
