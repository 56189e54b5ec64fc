"""Boxes of annotation files against their image."""
import math
from collections.abc import Sequence


def clip_box(box: Sequence[float], *, height: int, width: int) -> tuple[list[float], str | None]:
    """Clip an xyxy box to its image; returns it and what is wrong with it (no extent, outside), or None."""
    clipped = [min(max(value, 0.0), float(limit)) for value, limit in zip(box, (width, height, width, height))]
    if not all(math.isfinite(value) for value in box):
        return clipped, f'box {list(box)} has a value that is not finite'
    if box[2] <= box[0] or box[3] <= box[1]:
        return clipped, f'box x0, y0, x1, y1 = {list(box)} has no extent'
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        return clipped, f'box x0, y0, x1, y1 = {list(box)} lies outside the image of {width} x {height} pixels'
    return clipped, None
