"""From a predicted sample to what the output keeps of it."""
import math
from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco_mask

from maskforge.formats import rle
from maskforge.structures import DetDataSample

#: parts of the quality that models may report
PARTS = ('teacher_agreement', 'box_agreement', 'box_fill')


def label_entry(row: int, sample: DetDataSample, box: Sequence[float], size: tuple[int, int], *,
                clip_to_box: bool) -> dict[str, Any]:
    """The journal's entry of one box.

    Args:
        row: the box's.
        sample: with ``pred_instances`` of length 1: ``masks`` and ``scores`` (the quality), and perhaps the fields of
            :data:`PARTS`.
        box: x, y, width, height in pixels.
        size: height and width that the image's record states.
        clip_to_box: leave out pixels that the box does not touch.

    Raises:
        ValueError: the model did not return one mask with one score.
    """
    found = sample.get('pred_instances')
    if found is None or len(found) != 1 or 'masks' not in found or 'scores' not in found:
        raise ValueError(f'a model that labels boxes returns one mask and one score per box, but the sample has '
                         f'{"no pred_instances" if found is None else f"{len(found)} with {found.all_keys()}"}.')
    mask = rle.compress(found.masks.to_rles()[0])
    if tuple(mask['size']) != tuple(size):
        return failed_entry(row, 'image_size_differs')
    if clip_to_box:
        mask = coco_mask.merge([mask, box_rle(box, size)], intersect=True)
    area = int(coco_mask.area(mask))
    quality = float(found.scores[0]) if area else 0.0
    entry = dict(row=row, segmentation=rle.to_json(mask), area=area, quality=_rounded(quality))
    entry.update({name: _rounded(float(found[name][0])) for name in PARTS if name in found})
    return entry if area else dict(entry, flags=['empty_mask'])


def failed_entry(row: int, flag: str) -> dict[str, Any]:
    """The entry of a box that could not be labelled."""
    return dict(row=row, flags=[flag])


def _rounded(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def box_rle(box: Sequence[float], size: tuple[int, int]) -> dict[str, Any]:
    """RLE of the pixels that a box (x, y, width, height) touches."""
    height, width = size
    x0, x1 = (min(max(edge, 0), width) for edge in (math.floor(box[0]), math.ceil(box[0] + box[2])))
    y0, y1 = (min(max(edge, 0), height) for edge in (math.floor(box[1]), math.ceil(box[1] + box[3])))
    rows, columns = y1 - y0, x1 - x0
    if rows <= 0 or columns <= 0:
        return rle.compress(dict(size=[height, width], counts=[height * width]))
    counts = [x0 * height + y0] + [rows, height - rows] * columns
    counts[-1] = height * width - sum(counts[:-1])
    return rle.compress(dict(size=[height, width], counts=counts))
