"""Class colours: a data set's own palette, or stable distinct ones."""
import colorsys
from collections.abc import Sequence

Color = tuple[int, int, int]
# the fractional part of multiples of the golden ratio spreads hues evenly however many are taken
_GOLDEN = 0.618033988749895
_TONES = ((0.80, 0.95), (0.95, 0.75), (0.55, 1.00))


def distinct_color(index: int) -> Color:
    """RGB colour number ``index`` (0, 1, ...), each in 0 .. 255; it does not depend on how many classes there are."""
    saturation, value = _TONES[index // 3 % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb((0.58 + index * _GOLDEN) % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def class_colors(palette: Sequence | str | None, count: int) -> list[Color]:
    """RGB colours of ``count`` classes.

    Args:
        palette: RGB triples; one triple for all classes; ``None`` or ``'random'`` for :func:`distinct_color`. Classes
            beyond a palette's end get distinct colours.
        count: number of classes.

    Raises:
        ValueError: an unknown name or an entry that is not a triple in 0 .. 255.
    """
    if palette is None or palette == 'random':
        return [distinct_color(index) for index in range(count)]
    if isinstance(palette, str):
        raise ValueError(f"palette={palette!r} is not known: give a list of (red, green, blue), or 'random'.")
    if len(palette) == 3 and not isinstance(palette[0], Sequence):
        palette = [palette] * count
    for index, color in enumerate(palette):
        if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
            raise ValueError(f'palette[{index}]={color!r} is not a (red, green, blue) triple in 0 .. 255.')
    given = [tuple(int(channel) for channel in color) for color in palette[:count]]
    return given + [distinct_color(index) for index in range(len(given), count)]
