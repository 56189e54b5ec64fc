"""Bitmaps to polygons that rasterise back to the same pixels."""
import numpy as np

_STEPS = {(1, 0): (0, 1), (0, 1): (-1, 0), (-1, 0): (0, -1), (0, -1): (1, 0)}  # a step, and the step after a right turn


def bitmap_to_polygons(bitmap: np.ndarray) -> list[np.ndarray] | None:
    """Trace the borders between pixels of an (H, W) bitmap.

    Returns:
        One flat float64 array x0, y0, x1, y1 ... (pixel corners) per part that hangs together over edges, or None
        where the bitmap has a hole, which COCO's polygons cannot say (use an RLE).
    """
    successors = _border_steps(np.pad(np.asarray(bitmap, bool), 1))
    polygons = []
    while successors:
        points = _trace(successors)
        x, y = points[0::2], points[1::2]
        if (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() < 0:  # borders of holes run the other way round
            return None
        polygons.append(points)
    return polygons


def _border_steps(padded: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Unit steps along the border from each corner, with the foreground on the right hand."""
    inside = padded[1:-1, 1:-1]
    sides = (  # neighbour, offset of the step's start from the pixel's corner, step
        (padded[:-2, 1:-1], (0, 0), (1, 0)), (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)), (padded[1:-1, :-2], (0, 1), (0, -1)))
    successors: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, (dx, dy), step in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        for corner in zip((columns + dx).tolist(), (rows + dy).tolist()):
            successors.setdefault(corner, []).append(step)
    return successors


def _trace(successors: dict[tuple[int, int], list[tuple[int, int]]]) -> np.ndarray:
    """Follow one border to its start, taking its steps out; only corners where the direction changes are kept.

    Where two parts touch at a corner, the right turn stays on the part that is being traced.
    """
    start = min(successors, key=lambda corner: (corner[1], corner[0]))
    position, step = start, successors[start][0]
    points: list[int] = []
    previous = None
    while True:
        choices = successors[position]
        if previous is not None:
            turn = _STEPS[previous]
            step = turn if turn in choices else choices[0]
        choices.remove(step)
        if not choices:
            del successors[position]
        if step != previous:
            points.extend(position)
        position, previous = (position[0] + step[0], position[1] + step[1]), step
        if position == start and (start not in successors or _STEPS[previous] not in successors[start]):
            return np.array(points, np.float64)
