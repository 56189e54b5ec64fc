"""Colours that a user gives to classes by name; only those classes are drawn."""
import difflib
from collections.abc import Mapping, Sequence

from PIL import ImageColor

from .palette import Color

ColorMap = Mapping[str, str | Sequence[int]]


def read_color_map(color_map: ColorMap, classes: Sequence[str]) -> dict[int, Color]:
    """Class index -> RGB colour, for the classes that the map names.

    Args:
        color_map: class name -> colour name as Pillow and CSS know it (``'red'``, ``'#ff8800'``) or (r, g, b) in
            0 .. 255.
        classes: all class names.

    Raises:
        ValueError: a class that does not exist, with near names; a colour that is none.
    """
    found = {}
    for name, color in color_map.items():
        if name not in classes:
            near = difflib.get_close_matches(name, classes, n=3)
            hint = f'did you mean {", ".join(near)}?' if near else f'the classes are {", ".join(classes[:10])}'
            raise ValueError(f'color_map has a colour for {name!r}, which is no class of the model; {hint}')
        found[list(classes).index(name)] = _rgb(name, color)
    return found


def _rgb(name: str, color: str | Sequence[int]) -> Color:
    if isinstance(color, str):
        try:
            return ImageColor.getrgb(color)[:3]
        except ValueError as error:
            raise ValueError(f'color_map[{name!r}]={color!r} is not a colour name, #rrggbb or (r, g, b).') from error
    if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
        raise ValueError(f'color_map[{name!r}]={color!r} is not (r, g, b) in 0 .. 255.')
    return tuple(int(channel) for channel in color)
