"""Draw the segments of one image: colours of their classes, outlines, names of the large ones."""
from collections.abc import Collection, Sequence

import cv2
import numpy as np

from maskforge.structures import PanopticSegmentation

from .canvas import Canvas, drawable_name, enlarged_copy
from .palette import class_colors

_OUTLINE = (255, 255, 255)
#: names are written where this many letters of the font size would cover a segment
_NAMED_FROM = 8


def draw_panoptic(image: np.ndarray,
                  segmentation: PanopticSegmentation,
                  classes: Sequence[str] | None = None,
                  palette: Sequence | str | None = None,
                  score_thr: float = 0.3,
                  *,
                  alpha: float = 0.6,
                  line_width: int | None = None,
                  font_size: int | None = None,
                  show_labels: bool = True,
                  only: Collection[int] | None = None,
                  min_side: int = 0) -> np.ndarray:
    """Return a copy of ``image`` with segments drawn on it; void stays as it is.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) grey.
        segmentation: at the size of ``image``.
        classes: class names; labels without a name are written as ``#3``.
        palette: RGB triples by class (see :func:`class_colors`).
        score_thr: segments with a lower score are left out, as if they were void; those without scores are drawn.
        alpha: opacity of the colours, 0 (outlines only) to 1.
        line_width, font_size: pixels; by default they follow the size of the picture.
        show_labels: write the names of large segments, each at the place farthest from the segment's edge.
        only: classes that are drawn; None draws all.
        min_side: enlarge smaller pictures to this shorter side before drawing; 0 keeps the size.

    Raises:
        ValueError: the image is not uint8 with 1 or 3 channels, or of another size than the segments.
    """
    if segmentation.segments.shape != image.shape[:2]:
        raise ValueError(f'segments of size {segmentation.segments.shape} do not fit an image of size '
                         f'{image.shape[:2]}.')
    shown = _shown(segmentation, score_thr, only)
    pixels, scale = enlarged_copy(image, min_side)
    canvas = Canvas(pixels, line_width=line_width, font_size=font_size)
    segments = np.kron(shown.segments, np.ones((scale, scale), np.int32)) if scale > 1 else shown.segments
    labels = shown.labels.tolist()
    table = class_colors(palette, max(labels, default=-1) + 1)
    colors = [table[label] for label in labels]
    _paint(pixels, segments, np.array([(0, 0, 0), *colors], np.uint8)[:, ::-1], alpha, canvas.line_width)
    if show_labels:
        for number in np.argsort(-shown.areas(), kind='stable').tolist():
            _name(canvas, segments == number + 1, drawable_name(labels[number], classes), colors[number])
    return pixels


def draw_semantic(image: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None = None,
                  palette: Sequence | str | None = None, *, num_classes: int | None = None,
                  **looks: object) -> np.ndarray:
    """Return a copy of ``image`` with a map of classes drawn on it.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) grey.
        labels: (H, W) class indices; values from ``num_classes`` on (such as 255 for ignored pixels) and negative ones
            are left as they are.
        classes, palette: as in :func:`draw_panoptic`.
        num_classes: by default, the number of ``classes``, or 255 without them.
        **looks: ``alpha``, ``line_width``, ``font_size``, ``show_labels``, ``only``, ``min_side`` of
            :func:`draw_panoptic`.
    """
    labels = np.asarray(labels).astype(np.int64)
    limit = num_classes or len(classes or ()) or 255
    present, places = np.unique(np.where((labels < 0) | (labels >= limit), -1, labels), return_inverse=True)
    shift = int(not len(present) or present[0] >= 0)  # segment 0 is void, whether there is any or not
    found = PanopticSegmentation((places.reshape(labels.shape) + shift).astype(np.int32), present[present >= 0])
    return draw_panoptic(image, found, classes, palette, **looks)


def _shown(segmentation: PanopticSegmentation, score_thr: float, only: Collection[int] | None) -> PanopticSegmentation:
    kept = np.ones(len(segmentation), bool)
    if segmentation.scores is not None:
        kept &= segmentation.scores >= score_thr
    if only is not None:
        kept &= np.isin(segmentation.labels, list(only))
    return segmentation if kept.all() else segmentation.select(kept)


def _paint(pixels: np.ndarray, segments: np.ndarray, colors: np.ndarray, alpha: float, line_width: int) -> None:
    """Blend the segments' colours (by number, BGR) into ``pixels``, and draw lines between segments."""
    covered = segments > 0
    blended = cv2.addWeighted(colors[segments], alpha, pixels, 1 - alpha, 0)
    pixels[covered] = blended[covered]
    # OpenCV takes small integers and floats only
    steps = cv2.morphologyEx(segments.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((line_width + 1,) * 2, np.uint8))
    pixels[steps > 0] = _OUTLINE


def _name(canvas: Canvas, inside: np.ndarray, name: str, color: tuple[int, int, int]) -> None:
    if not name or inside.sum() < _NAMED_FROM * canvas.font_size**2:
        return
    # a border of zeros: the edge of the picture is an edge of the segment
    distance = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    text = canvas.text(name, canvas.font_size, color)
    h, w = text.shape[:2]
    left, top = int(x) - w // 2, int(y) - h // 2
    canvas.put(text, ((left, top), (left, top - h), (left, top + h)))
