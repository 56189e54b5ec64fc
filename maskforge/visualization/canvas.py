"""What all drawings of one image share: a copy to draw on, sizes that follow it, labels that do not overlap."""
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from .label_text import font_for, text_box
from .palette import Color


def enlarged_copy(image: np.ndarray, min_side: int) -> tuple[np.ndarray, int]:
    """Return a BGR copy to draw on and the whole factor by which it is larger than the image.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) grey.
        min_side: shorter side from which on the size is kept.

    Raises:
        ValueError: the image is not uint8 with 1 or 3 channels.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f'the image must be uint8 of shape (H, W, 3) or (H, W), got {image.dtype} {image.shape}.')
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    scale = max(1, -(-min_side // max(min(image.shape[:2]), 1)))
    if scale == 1:
        return np.ascontiguousarray(image).copy(), 1
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), scale


def drawable_name(label: int, classes: Sequence[str] | None) -> str:
    """Return the name of a class; ``#3`` for a class without a name, or with a name for which no font is found."""
    name = classes[label] if classes and 0 <= label < len(classes) else f'#{label}'
    return f'#{label}' if name and font_for(name) is None else name


class Canvas:
    """A picture that is drawn on.

    Args:
        pixels: (H, W, 3) uint8 BGR; drawn on in place.
        line_width, font_size: pixels; None follows the size of the picture.
        text_color: RGB; None takes black or white, whichever reads better on a label's ground.
    """

    def __init__(self, pixels: np.ndarray, *, line_width: int | None = None, font_size: int | None = None,
                 text_color: Color | None = None) -> None:
        side = float(np.sqrt(pixels.shape[0] * pixels.shape[1]))
        self.pixels = pixels
        self.line_width = line_width or max(1, round(side / 400))
        self.font_size = font_size or int(np.clip(side / 45, 11, 48))
        self._ink = None if text_color is None else tuple(text_color[::-1])
        self._taken: list[tuple[int, int, int, int]] = []

    def text(self, name: str, size: int, ground: Color) -> np.ndarray:
        """Return a label of font size ``size`` on the RGB colour ``ground``, cut to the canvas."""
        height, width = self.pixels.shape[:2]
        return text_box(name, size, tuple(ground[::-1]), self._ink)[:height, :width]

    def put(self, text: np.ndarray, places: Iterable[tuple[int, int]]) -> None:
        """Write a label with its upper left corner at the first of ``places`` (x, y) that is free, or at the first."""
        (h, w), (height, width) = text.shape[:2], self.pixels.shape[:2]
        inside = [(min(max(x, 0), width - w), min(max(y, 0), height - h)) for x, y in places]
        x, y = next((place for place in inside if not self._covered(*place, w, h)), inside[0])
        self.pixels[y:y + h, x:x + w] = text
        self._taken.append((x, y, x + w, y + h))

    def _covered(self, x: int, y: int, width: int, height: int) -> bool:
        return any(x < x1 and x0 < x + width and y < y1 and y0 < y + height for x0, y0, x1, y1 in self._taken)
