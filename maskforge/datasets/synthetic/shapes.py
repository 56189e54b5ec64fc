"""The outlines that the drawn data set is made of, convex and concave, inside the unit circle."""
import numpy as np


def _ring(count: int, *, radii: tuple[float, ...] = (1.0,), turn: float = -0.25) -> np.ndarray:
    """(count, 2) points around the origin whose radii repeat; the first one points up."""
    angles = 2 * np.pi * (np.arange(count) / count + turn)
    radius = np.resize(radii, count)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)


def _cross(arm: float = 0.34) -> np.ndarray:
    quarter = np.array([[arm, -arm], [arm, -0.94], [-arm, -0.94]])
    turns = [np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in -np.pi / 2 * np.arange(4)]
    return np.concatenate([quarter @ turn for turn in turns])


#: unit outlines, (P, 2) float64 x, y; the order is the order of the classes
OUTLINES: dict[str, np.ndarray] = {
    'circle': _ring(48),
    'square': _ring(4, turn=0.125),
    'triangle': _ring(3),
    'star': _ring(10, radii=(1.0, 0.42)),
    'cross': _cross(),
}


def place_outline(name: str, *, centre: np.ndarray, radius: float, angle: float, squeeze: float) -> np.ndarray:
    """Return the outline in pixels: squeezed along x by ``squeeze`` in (0, 1], turned by ``angle``, scaled, moved."""
    points = OUTLINES[name] * np.array([squeeze, 1.0])
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) * radius + centre
