"""Surfaces of shapes and backgrounds, in uint8 BGR."""
import numpy as np

KINDS = ('plain', 'stripes', 'checks', 'ramp')


def draw_surface(style: dict, *, height: int, width: int, x0: int = 0, y0: int = 0) -> np.ndarray:
    """Return (height, width, 3) float32 of a style from :func:`random_style`, seen in the window that starts at x0, y0.

    A style is ``dict(kind, colours (2, 3), direction (x, y), period)``; the pattern is fixed to the origin of x, y.
    """
    first, second = style['colours']
    if style['kind'] == 'plain':
        return np.broadcast_to(first, (height, width, 3))
    x = np.arange(x0, x0 + width, dtype=np.float32)
    y = np.arange(y0, y0 + height, dtype=np.float32)[:, None]
    cos, sin = style['direction']
    along = (x * cos + y * sin) / style['period']
    if style['kind'] == 'ramp':
        share = 0.5 + 0.5 * np.sin(along)
    elif style['kind'] == 'stripes':
        share = (along % 1 < 0.5).astype(np.float32)
    else:
        across = (y * cos - x * sin) / style['period']
        share = ((along % 1 < 0.5) ^ (across % 1 < 0.5)).astype(np.float32)
    return first + share[..., None] * (second - first)


def random_style(rng: np.random.Generator, *, size: int, kinds: tuple[str, ...] = KINDS, contrast: float = 60) -> dict:
    """Draw a style; the two colours differ by at most ``contrast`` grey levels a channel."""
    first = rng.integers(25, 230, 3)
    second = np.clip(first + rng.uniform(-contrast, contrast, 3), 0, 255)
    angle = rng.uniform(0, np.pi)
    return dict(kind=kinds[rng.integers(len(kinds))], colours=np.array([first, second], np.float32),
                direction=(float(np.cos(angle)), float(np.sin(angle))), period=float(size * rng.uniform(0.04, 0.12)))
