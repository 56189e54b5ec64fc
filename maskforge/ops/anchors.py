"""Anchors: reference boxes of several shapes on every cell of every feature level (Ren et al. 2015, section 3.1.1)."""
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maskforge.registry import TASK_UTILS


def base_anchors(size: float | int, scales: Sequence[float | int], ratios: Sequence[float | int], *,
                 scale_major: bool = True, centre: float | int = 0.0) -> Float[Tensor, 'A 4']:
    """Return the boxes of one cell, xyxy around ``centre``.

    Args:
        size: side of the square that scale 1 and ratio 1 give, in pixels.
        ratios: height / width; the area stays.
        scale_major: order ratio by ratio, all scales inside (as MMDetection); False: scale by scale.
    """
    roots, factors = torch.tensor([float(r) for r in ratios]).sqrt(), torch.tensor([float(s) for s in scales])
    if scale_major:
        widths, heights = (size / roots[:, None] * factors).flatten(), (size * roots[:, None] * factors).flatten()
    else:
        widths, heights = (size * factors[:, None] / roots).flatten(), (size * factors[:, None] * roots).flatten()
    return centre + torch.stack((-widths, -heights, widths, heights), dim=1) / 2


def grid_anchors(base: Float[Tensor, 'A 4'], height: int, width: int,
                 stride: tuple[int, int]) -> Float[Tensor, 'N 4']:
    """Repeat ``base`` on a height x width grid of ``stride`` (x, y) pixels; order: row, column, base box."""
    xs = torch.arange(width, device=base.device, dtype=base.dtype) * stride[0]
    ys = torch.arange(height, device=base.device, dtype=base.dtype) * stride[1]
    y, x = torch.meshgrid(ys, xs, indexing='ij')
    return (torch.stack((x, y, x, y), dim=-1)[:, :, None] + base).reshape(-1, 4)


@TASK_UTILS.register_module()
class AnchorGenerator:
    """Anchors of all levels.

    Args:
        strides: per level, pixels (or (x, y) pairs).
        ratios: height / width.
        scales: sides in units of the level's base size. Or ``octave_base_scale`` and ``scales_per_octave``.
        base_sizes: per level, pixels; the strides by default.
        scale_major, center_offset: see :func:`base_anchors`; the offset is in units of the base size.
        round_anchors: round the base boxes to whole pixels, as torchvision does.

    Raises:
        ValueError: scales given twice or not at all, or base sizes that do not match the strides.
    """

    def __init__(self, strides: Sequence, ratios: Sequence[float | int],
                 scales: Sequence[float | int] | None = None, *,
                 base_sizes: Sequence[float | int] | None = None, scale_major: bool = True,
                 octave_base_scale: float | int | None = None, scales_per_octave: int | None = None,
                 center_offset: float | int = 0.0, round_anchors: bool = False) -> None:
        octaves = octave_base_scale is not None and scales_per_octave is not None
        if (scales is not None) == octaves:
            raise ValueError('AnchorGenerator needs either scales, or octave_base_scale and scales_per_octave.')
        self.strides = [(s, s) if isinstance(s, int) else (s[0], s[1]) for s in strides]
        sizes = [min(s) for s in self.strides] if base_sizes is None else list(base_sizes)
        if len(sizes) != len(self.strides):
            raise ValueError(f'AnchorGenerator: {len(sizes)} base_sizes for {len(self.strides)} strides.')
        if octaves:
            scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        self.base = [base_anchors(size, scales, ratios, scale_major=scale_major, centre=float(center_offset * size))
                     for size in sizes]
        if round_anchors:
            self.base = [boxes.round() for boxes in self.base]
        self._grids: dict[tuple, Tensor] = {}

    @property
    def num_levels(self) -> int:
        """Number of feature levels."""
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors per cell, for each level."""
        return [len(boxes) for boxes in self.base]

    def grid_priors(self, shapes: Sequence[tuple[int, int]], *,
                    device: torch.device | str = 'cpu') -> list[Float[Tensor, '_ 4']]:
        """Return each level's anchors for feature maps of ``shapes`` (height, width); the last sizes are cached."""
        if len(shapes) != self.num_levels:
            raise ValueError(f'The anchor generator has {self.num_levels} strides, but there are {len(shapes)} feature '
                             f'levels: rpn_head.anchor_generator.strides and neck.num_outs must have the same count.')
        return [self._grid(level, tuple(shape), str(device)) for level, shape in enumerate(shapes)]

    def _grid(self, level: int, shape: tuple[int, int], device: str) -> Tensor:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return grid_anchors(self.base[level].to(device), *shape, self.strides[level])
        key = (level, shape, device)
        if key not in self._grids:
            if len(self._grids) >= 16 * self.num_levels:
                self._grids.clear()
            self._grids[key] = grid_anchors(self.base[level].to(device), *shape, self.strides[level])
        return self._grids[key]

    def valid_flags(self, shapes: Sequence[tuple[int, int]], pad_shape: Sequence[int], *,
                    device: torch.device | str = 'cpu') -> Bool[Tensor, ' N']:
        """Return which anchors (all levels in a row) have their cell inside an image padded to ``pad_shape`` (h, w).

        The rest of the grid exists only because a larger image shares the batch.
        """
        flags = []
        for (height, width), (step_x, step_y), count in zip(shapes, self.strides, self.num_base_priors):
            rows = torch.arange(height, device=device) < -(-pad_shape[0] // step_y)
            columns = torch.arange(width, device=device) < -(-pad_shape[1] // step_x)
            flags.append((rows[:, None] & columns)[..., None].expand(-1, -1, count).reshape(-1))
        return torch.cat(flags)
