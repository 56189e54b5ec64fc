"""Resizing by the short side, as DETR does."""
from collections.abc import Sequence

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .resize import Resize
from .shared_draw import shared_draw


def short_side_size(width: int, height: int, side: int, max_size: int | None = None, *,
                    strict: bool = False) -> tuple[int, int]:
    """(width, height) with the short side at ``side``, or less where the long side would exceed ``max_size``.

    The long side is cut off to whole pixels, not rounded (Carion et al., DETR, 2020, released code). Because the short
    side is rounded first, the long one may come out a few pixels above ``max_size``, unless ``strict``.
    """
    low, high = min(width, height), max(width, height)
    if max_size is not None and high / low * side > max_size:
        side = max(round(max_size * low / high), 1)
    if low == side:
        return width, height
    long = int(side * high / low)
    long = min(long, max_size) if strict and max_size else long
    return (side, long) if width < height else (long, side)


@TRANSFORMS.register_module()
class ShortSideResize(Resize):
    """Resize image and truth so that the short side has one of the given lengths, drawn at random.

    Args:
        sides: lengths of the short side in pixels; one or more.
        max_size: the long side is at most this long; None: as long as it gets.
        strict: never exceed ``max_size``; DETR's own rule may by a few pixels.
        backend: 'pillow' averages over the area when it makes an image smaller, as DETR's recipe does; 'cv2' is
            faster.
        interpolation, clip_object_border: as in :class:`Resize`.

    Raises:
        ValueError: ``sides`` is empty or a size is not a positive integer.
    """

    def __init__(self, sides: int | Sequence[int], max_size: int | None = None, *, strict: bool = False,
                 backend: str = 'pillow', interpolation: str = 'bilinear', clip_object_border: bool = True):
        self.sides = (sides,) if isinstance(sides, int) else tuple(sides)
        self.max_size, self.strict = max_size, strict
        if not self.sides or not all(isinstance(side, int) and side > 0 for side in (*self.sides, max_size or 1)):
            raise ValueError(f'ShortSideResize needs positive integers in pixels, got sides={sides}, '
                             f'max_size={max_size}')
        super().__init__(scale=self.sides[0], clip_object_border=clip_object_border, backend=backend,
                         interpolation=interpolation)

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        self.scale = short_side_size(width, height, self._random_side(), self.max_size, strict=self.strict)
        return super().transform(results)

    @staticmethod
    def resize_rule(sides: int | Sequence[int], max_size: int | None = None, **_) -> dict:
        """What an exported file says about its input: the bounds of the resize."""
        side = sides if isinstance(sides, int) else max(sides)
        return dict(scale=(max_size or 10 * side, side), keep_ratio=True)

    @shared_draw
    def _random_side(self) -> int:
        return self.sides[int(sample_rng().integers(len(self.sides)))] if len(self.sides) > 1 else self.sides[0]
