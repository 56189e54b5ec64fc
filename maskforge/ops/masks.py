"""Box-sized mask probabilities to image-sized masks, never holding N x H x W at once.

A mask of S x S probabilities stretched over its box is sampled bilinearly at every pixel centre, with zeros outside
(``grid_sample`` with ``align_corners=False``). It can differ from zero only inside the box and half a mask cell around
it, so only that window is computed and kept, at one bit a pixel.
"""
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from maskforge.ops.device_values import on_device
from maskforge.structures.packed_mask import PackedMask, Window

DEFAULT_BUDGET_BYTES = 256 * 2**20
BYTES_PER_PIXEL = 16  # grid 8, sample 4, comparison and copies


def paste_masks(mask_probs: Float[Tensor, 'N S S'], boxes: Float[Tensor, 'N 4'],
                size: tuple[int, int]) -> Float[Tensor, 'N H W']:
    """Return every mask's probabilities on the whole image of ``size`` (height, width): the formula, undivided."""
    height, width = size
    origin = torch.zeros(len(boxes), 2, device=boxes.device)
    return _sample(mask_probs, boxes, origin, (height, width))


def paste_to_rles(mask_probs: Float[Tensor, 'N S S'], boxes: Float[Tensor, 'N 4'], size: tuple[int, int], *,
                  threshold: float | int = 0.5, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> list[dict]:
    """Return COCO RLE dicts (compressed counts, as bytes) of ``paste_masks(...) >= threshold``.

    Arguments and errors are those of :func:`paste_packed`.
    """
    return [mask.rle for mask in paste_packed(mask_probs, boxes, size, threshold=threshold, budget_bytes=budget_bytes)]


def paste_packed(mask_probs: Float[Tensor, 'N S S'], boxes: Float[Tensor, 'N 4'], size: tuple[int, int], *,
                 threshold: float | int = 0.5, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> list[PackedMask]:
    """Return the bits of ``paste_masks(...) >= threshold``.

    Args:
        mask_probs: probabilities in [0, 1].
        boxes: xyxy in pixels of the image that the masks are pasted into.
        size: (height, width) of that image.
        budget_bytes: bound on working memory beyond one mask's own window.

    Raises:
        ValueError: a threshold outside (0, 1]; at 0 the background would count as object.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f'The mask threshold (test_cfg.rcnn.mask_thr_binary) must be in (0, 1], got {threshold}.')
    mask_probs, boxes = mask_probs.detach().float(), boxes.detach().float()
    windows = _windows(boxes, mask_probs.shape[-1], size)
    pasted: dict[int, PackedMask] = {}
    for chunk in _chunks(windows, budget_bytes, boxes.device):
        for index, bitmap in zip(chunk, _paste_windows(mask_probs, boxes, windows, chunk, threshold)):
            pasted[index] = PackedMask.from_window(bitmap, windows[index], size)
    return [pasted[index] for index in range(len(windows))]


def _windows(boxes: Tensor, side: int, size: tuple[int, int]) -> list[Window]:
    margin = (boxes[:, 2:] - boxes[:, :2]).abs() / (2 * side) + 1
    low = (torch.minimum(boxes[:, :2], boxes[:, 2:]) - margin).floor()
    high = (torch.maximum(boxes[:, :2], boxes[:, 2:]) + margin).ceil()
    limit = on_device([size[1], size[0]], boxes.device, dtype=boxes.dtype)
    bounds = torch.cat((low, high), dim=1).nan_to_num(0).clamp(min=0).minimum(limit.repeat(2)).long().tolist()
    return [(x0, y0, max(x0, x1), max(y0, y1)) for x0, y0, x1, y1 in bounds]


def _chunks(windows: list[Window], budget_bytes: int, device: torch.device) -> list[list[int]]:
    """Group windows of like size within the budget; one by one on the CPU, where padding would cost more than calls."""
    order = sorted(range(len(windows)), key=lambda i: (windows[i][3] - windows[i][1], windows[i][2] - windows[i][0]))
    chunks: list[list[int]] = []
    for index in order:
        trial = [*chunks[-1], index] if chunks and device.type != 'cpu' else []
        if trial and len(trial) * np.prod(_extent(windows, trial)) * BYTES_PER_PIXEL <= budget_bytes:
            chunks[-1] = trial
        else:
            chunks.append([index])
    return chunks


def _extent(windows: list[Window], chunk: list[int]) -> tuple[int, int]:
    return max(windows[i][3] - windows[i][1] for i in chunk), max(windows[i][2] - windows[i][0] for i in chunk)


def _paste_windows(mask_probs: Tensor, boxes: Tensor, windows: list[Window], chunk: list[int],
                   threshold: float | int) -> list[np.ndarray]:
    origin = on_device([windows[i][:2] for i in chunk], boxes.device, dtype=boxes.dtype)
    rows = on_device(chunk, boxes.device)
    pasted = (_sample(mask_probs[rows], boxes[rows], origin, _extent(windows, chunk)) >= threshold).cpu().numpy()
    return [bitmap[:windows[i][3] - windows[i][1], :windows[i][2] - windows[i][0]] for i, bitmap in zip(chunk, pasted)]


def _sample(mask_probs: Tensor, boxes: Tensor, origin: Tensor, extent: tuple[int, int]) -> Tensor:
    """Sample each mask at the pixel centres of a window of ``extent`` (rows, columns) whose corner is ``origin``."""
    rows, columns = extent
    if not (len(boxes) and rows and columns):
        return mask_probs.new_zeros(len(boxes), rows, columns)
    x = origin[:, :1] + torch.arange(columns, device=boxes.device) + 0.5
    y = origin[:, 1:] + torch.arange(rows, device=boxes.device) + 0.5
    x = (x - boxes[:, 0:1]) / (boxes[:, 2:3] - boxes[:, 0:1]) * 2 - 1
    y = (y - boxes[:, 1:2]) / (boxes[:, 3:4] - boxes[:, 1:2]) * 2 - 1
    # a side of length zero divides by zero: such a mask covers nothing
    x, y = (v.nan_to_num(-2.0, posinf=2.0, neginf=-2.0) for v in (x, y))
    grid = torch.stack((x[:, None].expand(-1, rows, -1), y[:, :, None].expand(-1, -1, columns)), dim=-1)
    return F.grid_sample(mask_probs[:, None].float(), grid, align_corners=False)[:, 0]
