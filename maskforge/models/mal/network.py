"""One of MAL's two networks: backbone, key head, value head.

Legend: B crops, D the backbone's channels, h w its map, S side of the logits, H W pixels of the crops.
"""
from collections.abc import Sequence

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.models.mal.heads import KeyHead, ValueHead, dot_product
from maskforge.models.mal.size_bins import LARGE, MEDIUM, SMALL, feature_bin
from maskforge.ops.device_values import on_device

# scale of the features that the value head sees, by the size of the box
FEATURE_SCALES = {SMALL: 0.5, MEDIUM: 1.0, LARGE: 2.0}
ADAPTIVE_RATIO, FIXED_RATIO = 4, 8  # S / h


class MALNetwork(BaseModule):
    """Crops to mask logits.

    Args:
        backbone, roi_head, mask_head: the parts; their names are those of public checkpoints.
        size_bins: rule of :func:`~maskforge.models.mal.size_bins.feature_bin`.
        adjust_scale: compute small boxes' masks at half and large ones' at twice the backbone's resolution (S = 4 h);
            otherwise all at the same (S = 8 h).
        frozen: modules of the backbone that stay in evaluation mode.
    """

    def __init__(self, backbone: nn.Module, roi_head: KeyHead, mask_head: ValueHead, *, size_bins: str,
                 adjust_scale: bool, frozen: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.backbone, self.roi_head, self.mask_head = backbone, roi_head, mask_head
        self.size_bins, self.adjust_scale = size_bins, adjust_scale
        self._frozen = tuple(frozen)

    def train(self, mode: bool = True) -> 'MALNetwork':
        """Switch the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: Float[Tensor, 'B 3 H W'],
                areas: Sequence[float | int] | None = None) -> Float[Tensor, 'B _ _']:
        """Return mask logits, float32.

        Args:
            images: normalised crops.
            areas: of the boxes in the image, in square pixels; None takes all boxes for large ones.

        Raises:
            ValueError: the backbone returns more than one level.
        """
        levels = self.backbone(images)
        if len(levels) != 1:
            raise ValueError(f'MAL: the backbone must return one level, {type(self.backbone).__name__} returns '
                             f'{len(levels)}; choose one with out_indices.')
        features, keys = levels[0], self.roi_head(levels[0])
        if not self.adjust_scale:
            return self._logits(features, keys, FIXED_RATIO)
        bins = [LARGE if areas is None else feature_bin(areas[i], self.size_bins) for i in range(len(images))]
        return self._adaptive(features, keys, bins)

    def _logits(self, features: Tensor, keys: Tensor, ratio: int, scale: float = 1.0) -> Tensor:
        height, width = features.shape[-2:]
        if scale != 1:
            size = tuple(max(int(length * scale), 1) for length in (height, width))
            features = F.interpolate(features, size=size, mode='bilinear', align_corners=False)
        logits = dot_product(keys, self.mask_head(features))[:, None]
        return F.interpolate(logits, size=(ratio * height, ratio * width), mode='bilinear', align_corners=False)[:, 0]

    def _adaptive(self, features: Tensor, keys: Tensor, bins: list[int | None]) -> Tensor:
        """Every size's crops together, then back in the batch's order."""
        scales = [FEATURE_SCALES[MEDIUM if size is None else size] for size in bins]
        groups = {scale: [i for i, own in enumerate(scales) if own == scale] for scale in sorted(set(scales))}
        if len(groups) == 1:
            logits = self._logits(features, keys, ADAPTIVE_RATIO, scales[0])
        else:
            rows = {scale: on_device(members, features.device) for scale, members in groups.items()}
            parts = [self._logits(features[index], keys[index], ADAPTIVE_RATIO, scale)
                     for scale, index in rows.items()]
            order = [i for members in groups.values() for i in members]
            logits = torch.cat(parts)[on_device(order, features.device).argsort()]
        if None in bins:  # multiplied, not left out: the heads keep a (zero) gradient in every step
            logits = logits * on_device([size is not None for size in bins], logits.device)[:, None, None]
        return logits
