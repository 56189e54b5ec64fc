"""Draw the objects of video frames: a colour an object, the same in every frame."""
from collections.abc import Iterable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from maskforge.formats import rle
from maskforge.formats.palette_png import davis_palette

from .canvas import Canvas, enlarged_copy
from .palette import Color, distinct_color


def object_color(object_id: int, palette: Sequence[Color] | np.ndarray | str | None = None) -> Color:
    """RGB colour of an object.

    Args:
        object_id: not negative.
        palette: colours by id; ``'davis'`` for those of DAVIS' PNG files; None for colours that are told apart
            easily. Ids beyond its end start over.
    """
    if palette is None:
        return distinct_color(object_id)
    if isinstance(palette, str):
        if palette != 'davis':
            raise ValueError(f"palette={palette!r} is not known: give a list of (red, green, blue), or 'davis'.")
        palette = davis_palette()
    return tuple(int(channel) for channel in palette[object_id % len(palette)])


def draw_objects(image: np.ndarray,
                 masks: Mapping[int, dict | np.ndarray | None],
                 *,
                 palette: Sequence[Color] | np.ndarray | str | None = None,
                 alpha: float = 0.45,
                 contours: bool = True,
                 line_width: int | None = None,
                 show_ids: bool = True,
                 font_size: int | None = None,
                 points: Mapping[int, Sequence[tuple[float | int, float | int, int]]] | None = None,
                 min_side: int = 0) -> np.ndarray:
    """Return a copy of a frame with its objects drawn on it.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) grey.
        masks: object id -> COCO RLE or (H, W) bool mask of the frame's size; None where it is not to be seen.
        palette: see :func:`object_color`.
        alpha: opacity of the colours, 0 (nothing but contours) to 1.
        contours: draw outlines too.
        line_width, font_size: pixels; by default they follow the size of the picture.
        show_ids: write each object's id at the inmost place of its mask.
        points: object id -> clicks (x, y, label) in pixels of the frame; positive ones (label 1) are green, others red.
        min_side: enlarge smaller pictures to this shorter side before drawing; 0 keeps the size.

    Raises:
        ValueError: the image is not uint8 with 1 or 3 channels, or a mask has another size.
    """
    pixels, scale = enlarged_copy(image, min_side)
    canvas = Canvas(pixels, line_width=line_width, font_size=font_size)
    bitmaps = {number: _bitmap(mask, image.shape[:2], number, scale) for number, mask in masks.items()
               if mask is not None}
    colors = {number: object_color(number, palette) for number in bitmaps}
    for number, bitmap in bitmaps.items():
        _fill(pixels, bitmap, colors[number], alpha)
    if contours:
        for number, bitmap in bitmaps.items():
            outlines, _ = cv2.findContours(bitmap, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(pixels, outlines, -1, colors[number][::-1], canvas.line_width, cv2.LINE_AA)
    if show_ids:
        for number, bitmap in bitmaps.items():
            _write_id(canvas, bitmap, number, colors[number])
    for clicks in (points or {}).values():
        for x, y, label in clicks:
            _mark(canvas, (round((x + 0.5) * scale), round((y + 0.5) * scale)), positive=label == 1)
    return pixels


def draw_video(frames: Iterable[np.ndarray], masks: Mapping[int, Sequence[dict | np.ndarray | None]],
               **looks: object) -> Iterator[np.ndarray]:
    """Yield the frames of a video with their objects drawn on them, one at a time.

    Args:
        frames: T (H, W, 3) uint8 BGR frames.
        masks: object id -> T masks, as ``pred_masks`` of a :class:`~maskforge.structures.ClipSample`.
        **looks: the keyword arguments of :func:`draw_objects`.
    """
    for place, image in enumerate(frames):
        yield draw_objects(image, {number: items[place] for number, items in masks.items()}, **looks)


def _bitmap(mask: dict | np.ndarray, size: tuple[int, int], number: int, scale: int) -> np.ndarray:
    bitmap = rle.decode(mask) if isinstance(mask, Mapping) else np.asarray(mask)
    if bitmap.shape != tuple(size):
        raise ValueError(f'the mask of object {number} has the size {bitmap.shape}, the frame {tuple(size)} (height, '
                         'width).')
    bitmap = (bitmap != 0).astype(np.uint8)
    return cv2.resize(bitmap, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST) if scale > 1 else bitmap


def _fill(pixels: np.ndarray, bitmap: np.ndarray, color: Color, alpha: float) -> None:
    x, y, width, height = cv2.boundingRect(bitmap)
    region, inside = pixels[y:y + height, x:x + width], bitmap[y:y + height, x:x + width] > 0
    painted = region[inside] * (1 - alpha) + np.asarray(color[::-1]) * alpha
    region[inside] = np.rint(painted).astype(np.uint8)


def _write_id(canvas: Canvas, bitmap: np.ndarray, number: int, color: Color) -> None:
    x, y, width, height = cv2.boundingRect(bitmap)
    if not width:
        return
    # a border of zeros: the edge of the picture is an edge of the object
    inside = np.pad(bitmap[y:y + height, x:x + width], 1)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    down, across = np.unravel_index(distance.argmax(), distance.shape)
    text = canvas.text(str(number), canvas.font_size, color)
    h, w = text.shape[:2]
    left, top = x + int(across) - w // 2, y + int(down) - h // 2
    canvas.put(text, ((left, top), (left, y - h), (left, y + height)))


def _mark(canvas: Canvas, place: tuple[int, int], *, positive: bool) -> None:
    radius = max(3, canvas.font_size // 3)
    cv2.circle(canvas.pixels, place, radius, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(canvas.pixels, place, max(2, radius - 2), (60, 200, 40) if positive else (40, 40, 230), -1, cv2.LINE_AA)
