"""From a box to the part of the image that a network sees of it."""
import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

Box = tuple[float, float, float, float]
Window = tuple[int, int, int, int]
BORDERS = ('wrap', 'zero')
RESAMPLES = ('cv2', 'pil_bicubic')


def expand_box(box: Box, margins: tuple[float, float, float, float]) -> Window:
    """Return whole pixels (x0, y0, x1, y1), the end excluded, around a box whose sides have moved outwards.

    Args:
        box: xyxy.
        margins: of the left, upper, right and lower side, in halves of the box's width and height.
    """
    x0, y0, x1, y1 = box
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return (int(np.floor(x - (x - x0) * (1 + margins[0]))), int(np.floor(y - (y - y0) * (1 + margins[1]))),
            int(np.ceil(x + (x1 - x) * (1 + margins[2]) + 1)), int(np.ceil(y + (y1 - y) * (1 + margins[3]) + 1)))


def draw_margins(rng: np.random.Generator, margin_rate: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return random margins: each axis has one total, a random part of which falls to either side."""
    low, high = margin_rate
    amounts = low + (high - low) * rng.random(4)
    x, y = rng.random(2)
    return tuple((amounts * (x, y, 1 - x, 1 - y)).tolist())


def cut_window(image: UInt8[np.ndarray, 'H W 3'], window: Window, border: str) -> UInt8[np.ndarray, '_ _ 3']:
    """Return the pixels of ``window``; beyond the image it goes on at the other side ('wrap'), or is black ('zero')."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = window
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return image[y0:y1, x0:x1]
    if border == 'wrap':
        return np.take(np.take(image, range(y0, y1), axis=0, mode='wrap'), range(x0, x1), axis=1, mode='wrap')
    cut = np.zeros((y1 - y0, x1 - x0, image.shape[2]), image.dtype)
    inside = slice(max(y0, 0), max(min(y1, height), 0)), slice(max(x0, 0), max(min(x1, width), 0))
    seen = image[inside]
    cut[inside[0].start - y0:inside[0].start - y0 + seen.shape[0],
        inside[1].start - x0:inside[1].start - x0 + seen.shape[1]] = seen
    return cut


def resize_crop(crop: UInt8[np.ndarray, '_ _ 3'], size: int, resample: str) -> UInt8[np.ndarray, 'c c 3']:
    """Return the crop at ``size`` x ``size`` pixels, whatever its proportions.

    Args:
        resample: 'cv2' averages where a crop shrinks and interpolates linearly where it grows; 'pil_bicubic' is
            Pillow's bicubic filter, which released weights were trained with.
    """
    if resample == 'pil_bicubic':
        return np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    shrinks = min(crop.shape[:2]) >= size
    return cv2.resize(np.ascontiguousarray(crop), (size, size),
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def box_in_window(box: Box, window: Window, size: int) -> Box:
    """Return the box in pixels of the window resized to ``size`` x ``size``."""
    scale = size / (window[2] - window[0]), size / (window[3] - window[1])
    return tuple((value - window[axis % 2]) * scale[axis % 2] for axis, value in enumerate(box))
