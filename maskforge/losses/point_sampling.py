"""Comparing masks at random points instead of at every pixel (Kirillov et al., CVPR 2020, PointRend, section 3.1).

Points are (x, y) in [0, 1] of the whole map: (0, 0) is the outer corner of the first pixel. Samples are bilinear
between pixel centres, and zero beyond the map.

Legend: B maps, C channels, P points, T masks, M pairs.
"""
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

#: of which a CPU chooses points together
MAPS_AT_ONCE = 4


def random_points(batch: int, count: int, like: Tensor) -> Float[Tensor, 'B P 2']:
    """Return uniform points in float32, from torch's generator of the device of ``like``."""
    return torch.rand(batch, count, 2, device=like.device)


def sample_points(maps: Float[Tensor, 'B C H W'], points: Float[Tensor, 'B P 2']) -> Float[Tensor, 'B C P']:
    """Return every map's channels at its own points, float32; differentiable in the maps."""
    grid = (2 * points).sub_(1)[:, :, None]
    return F.grid_sample(maps.float(), grid, mode='bilinear', padding_mode='zeros', align_corners=False)[..., 0]


def sample_masks(masks: Bool[Tensor, 'T H W'], which: Int[Tensor, ' M'],
                 points: Float[Tensor, 'M P 2']) -> Float[Tensor, 'M P']:
    """Return the masks numbered ``which`` at points of their own, in [0, 1].

    The same numbers as :func:`sample_points` gives. The masks stay bytes: on a CPU one at a time is turned into floats,
    elsewhere none.
    """
    sample = _sample_one_by_one if masks.device.type == 'cpu' else _sample_bytes
    return sample(masks, which, points)


def _sample_one_by_one(masks: Bool[Tensor, 'T H W'], which: Int[Tensor, ' M'],
                       points: Float[Tensor, 'M P 2']) -> Float[Tensor, 'M P']:
    found = points.new_empty(points.shape[:2])
    for mask in which.unique().tolist():
        pairs = (which == mask).nonzero()[:, 0]
        found[pairs] = sample_points(masks[mask][None, None], points[pairs].flatten(0, 1)[None]).view(len(pairs), -1)
    return found


def _sample_bytes(masks: Bool[Tensor, 'T H W'], which: Int[Tensor, ' M'],
                  points: Float[Tensor, 'M P 2']) -> Float[Tensor, 'M P']:
    height, width = masks.shape[-2:]
    x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    right_share, bottom_share = x - left, y - top
    flat, start = masks.flatten(), which[:, None] * (height * width)
    found = torch.zeros_like(x)
    for row, row_share in ((top, 1 - bottom_share), (top + 1, bottom_share)):
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = start + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
            found += row_share * column_share * (flat[place] & inside)
    return found


@torch.no_grad()
def uncertain_points(logits: Float[Tensor, 'M h w'], count: int, *, oversample_ratio: float | int = 3.,
                     importance_sample_ratio: float | int = 0.75) -> Float[Tensor, 'M P 2']:
    """Return ``count`` points per map: those of many random ones whose logit is nearest to 0, and some random ones.

    Args:
        oversample_ratio: how many times ``count`` points are drawn to choose from; at least 1.
        importance_sample_ratio: part of the points that is chosen; in [0, 1].
    """
    chosen, drawn = int(importance_sample_ratio * count), int(oversample_ratio * count)
    # on a CPU a few maps at a time, in its caches
    parts = logits.split(MAPS_AT_ONCE if logits.device.type == 'cpu' else max(len(logits), 1))
    nearest = torch.cat([_nearest_to_zero(part, drawn, chosen) for part in parts])
    return torch.cat((nearest, random_points(len(logits), count - chosen, logits)), dim=1)


def _nearest_to_zero(logits: Float[Tensor, 'M h w'], drawn: int, chosen: int) -> Float[Tensor, 'M _ 2']:
    candidates = random_points(len(logits), drawn, logits)
    certainty = sample_points(logits[:, None], candidates)[:, 0].abs_()
    best = certainty.topk(chosen, dim=1, largest=False, sorted=False).indices
    return candidates.gather(1, best[..., None].expand(-1, -1, 2))
