"""Transforms that move the pixels of a clip; each says where to, and the pixels move once for all of them."""
import logging
import math
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .frame_warp import INTERPOLATIONS, FrameWarp, draw_segment
from .ground_truth import Number


class ClipGeometry(BaseTransform):
    """Base: a subclass says in ``plan`` what happens to each frame."""

    def plan(self, warps: list[FrameWarp], results: dict) -> list[FrameWarp]:
        """Extend the maps of the T frames by this transform."""
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        return warp_clip(results, self.plan(start_warps(results), results))


class FusedGeometry(ClipGeometry):
    """Several geometric transforms as one: frames and masks are sampled once.

    Args:
        transforms: in their order.
    """

    def __init__(self, transforms: Sequence[ClipGeometry]) -> None:
        self.transforms = list(transforms)

    def plan(self, warps: list[FrameWarp], results: dict) -> list[FrameWarp]:
        """One after the other."""
        for transform in self.transforms:
            warps = transform.plan(warps, results)
        return warps


@TRANSFORMS.register_module()
class ClipRandomFlip(ClipGeometry):
    """Mirror left and right.

    Args:
        prob: probability.
        consistent: one draw for all frames, else one a frame.
    """

    def __init__(self, prob: Number = 0.5, consistent: bool = True) -> None:
        self.prob, self.consistent = check_share('ClipRandomFlip', 'prob', prob), consistent

    def plan(self, warps: list[FrameWarp], results: dict) -> list[FrameWarp]:
        """Mirror the frames whose coin says so."""
        coins = per_frame(sample_rng().random(1 if self.consistent else len(warps)) < self.prob, len(warps))
        return [warp.mirror() if coin else warp for warp, coin in zip(warps, coins)]


@TRANSFORMS.register_module()
class ClipRandomAffine(ClipGeometry):
    """Turn, shift, scale and shear around the centre.

    A draw after which the first frame does not show one of the objects that it has shown is drawn again; after
    ``num_tentatives`` the clip stays as it is, which is counted and reported once.

    Args:
        degrees: bounds of the angle; a number for its negative and itself.
        scale: bounds of the factor. translate: largest shifts, as shares of width and height.
        shear: bounds in degrees: a number or two for x, four for x and y.
        fill: RGB of what is uncovered.
        num_tentatives: draws.
        interpolation: 'bilinear' or 'nearest', of the image.
        consistent: one draw for all frames, else one a frame.
    """

    def __init__(self, degrees: Number | Sequence[Number], scale: Sequence[Number] | None = None,
                 translate: Sequence[Number] | None = None, shear: Number | Sequence[Number] | None = None,
                 fill: Sequence[Number] = (123, 116, 103), num_tentatives: int = 1, interpolation: str = 'bilinear',
                 consistent: bool = True) -> None:
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f'ClipRandomAffine: interpolation={interpolation!r}; allowed are '
                             f'{", ".join(INTERPOLATIONS)}.')
        if num_tentatives < 1:
            raise ValueError(f'ClipRandomAffine: num_tentatives={num_tentatives}; at least one is needed.')
        self.degrees = _bounds('degrees', degrees)
        self.scale = tuple(scale or (1., 1.))
        self.translate = tuple(check_share('ClipRandomAffine', 'translate', part) for part in translate or (0., 0.))
        shear = (0., 0., 0., 0.) if shear is None else shear
        four = isinstance(shear, Sequence) and len(shear) == 4
        self.shear = (_bounds('shear', shear[:2]), _bounds('shear', shear[2:])) if four \
            else (_bounds('shear', shear), (0., 0.))
        self.fill = tuple(int(value) for value in fill)[::-1]
        self.num_tentatives, self.interpolation, self.consistent = num_tentatives, interpolation, consistent
        self._unchanged = 0

    def plan(self, warps: list[FrameWarp], results: dict) -> list[FrameWarp]:
        """Draw until the first frame keeps its objects."""
        first = [draw_segment(segment, warps[0].source) for segment in results['masks'][0]]
        first = [mask for mask in first if warps[0].shows(mask)]
        for _ in range(self.num_tentatives):
            drawn = per_frame([self._draw(warps[0].size) for _ in range(1 if self.consistent else len(warps))],
                              len(warps))
            moved = [warp.move(matrix, fill=self.fill, interpolation=self.interpolation)
                     for warp, matrix in zip(warps, drawn)]
            if all(moved[0].shows(mask) for mask in first):
                return moved
        self._report(results)
        return warps

    def _draw(self, size: tuple[int, int]) -> np.ndarray:
        rng = sample_rng()
        angle = rng.uniform(*self.degrees)
        shift = [round(rng.uniform(-share * side, share * side)) for share, side in zip(self.translate, size[::-1])]
        factor = rng.uniform(*self.scale)
        return affine_matrix(size, angle=angle, shift=shift, scale=factor,
                             shear=[rng.uniform(*bounds) for bounds in self.shear])

    def _report(self, results: dict) -> None:
        self._unchanged += 1
        if self._unchanged == 1:
            print_log(f'ClipRandomAffine leaves {results.get("video_name", "a clip")} as it is: after '
                      f'{self.num_tentatives} draws an object would not be seen in the first frame any more. Further '
                      'clips are left so without a message.', 'current', logging.WARNING)


@TRANSFORMS.register_module()
class ClipResize(ClipGeometry):
    """Resize; masks follow by the share of each pixel that they cover, inside above one half.

    Args:
        sizes: a size, or several of which one is drawn; a size is a number or (height, width).
        square: a number is both sides, whatever the aspect ratio; else it is the shorter side and the ratio is kept.
        max_size: the most that the longer side may have where the ratio is kept.
        consistent: one draw for all frames; different sizes in a clip cannot be packed.
    """

    def __init__(self, sizes: int | Sequence, square: bool = False, max_size: int | None = None,
                 consistent: bool = True) -> None:
        self.sizes = [sizes] if isinstance(sizes, int) else list(sizes)
        if not self.sizes or not all(isinstance(size, int) or len(size) == 2 for size in self.sizes):
            raise ValueError(f'ClipResize: sizes={sizes!r}; a number, or a list of numbers or (height, width).')
        if square and max_size is not None:
            raise ValueError(f'ClipResize: max_size={max_size} has no effect with square=True.')
        self.square, self.max_size, self.consistent = square, max_size, consistent

    def plan(self, warps: list[FrameWarp], results: dict) -> list[FrameWarp]:
        """Resize each frame to its draw."""
        drawn = sample_rng().integers(len(self.sizes), size=1 if self.consistent else len(warps))
        return [warp.resize(self._target(warp.size, self.sizes[index]))
                for warp, index in zip(warps, per_frame(drawn.tolist(), len(warps)))]

    def _target(self, size: tuple[int, int], wanted: int | Sequence[int]) -> tuple[int, int]:
        if not isinstance(wanted, int):
            return int(wanted[0]), int(wanted[1])
        if self.square:
            return wanted, wanted
        short, long = sorted(size)
        if self.max_size is not None and long * wanted / short > self.max_size:
            wanted = round(self.max_size * short / long)
        longer = int(wanted * long / short)
        return (wanted, longer) if size[0] <= size[1] else (longer, wanted)


def start_warps(results: dict) -> list[FrameWarp]:
    """The maps that change nothing, one a frame."""
    return [FrameWarp.start(frame.shape[:2]) for frame in results['frames']]


def warp_clip(results: dict, warps: Sequence[FrameWarp]) -> dict:
    """Move frames and masks; a picture that is shown several times alike is warped once."""
    frames: dict[tuple[int, bytes], np.ndarray] = {}
    for image, warp in zip(results['frames'], warps):
        key = id(image), _key(warp)
        if key not in frames:
            frames[key] = warp.image(image)
    warped = [frames[id(image), _key(warp)] for image, warp in zip(results['frames'], warps)]
    masks = [[warp.mask(segment) for segment in segments] for segments, warp in zip(results['masks'], warps)]
    return {**results, 'frames': warped, 'masks': masks}


def affine_matrix(size: tuple[int, int], *, angle: float, shift: Sequence[float], scale: float,
                  shear: Sequence[float]) -> np.ndarray:
    """(3, 3) map around the centre of a frame of ``size`` (h, w), in continuous coordinates.

    A positive angle (degrees) turns clockwise on the screen, as torchvision's. Shear angles are those of x and y.
    """
    turn, shear_x, shear_y = (math.radians(value) for value in (angle, *shear))
    linear = scale / math.cos(shear_y) * np.array([
        [math.cos(turn - shear_y), -math.cos(turn - shear_y) * math.tan(shear_x) - math.sin(turn) * math.cos(shear_y)],
        [math.sin(turn - shear_y), -math.sin(turn - shear_y) * math.tan(shear_x) + math.cos(turn) * math.cos(shear_y)],
    ])
    centre = np.array([size[1] / 2, size[0] / 2])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre + np.asarray(shift, float) - linear @ centre
    return matrix


def per_frame(drawn: Sequence, frames: int) -> list:
    """One draw for all frames, or one each, as a list of that length."""
    return [drawn[0]] * frames if len(drawn) == 1 else list(drawn)


def check_share(owner: str, name: str, value: Number) -> Number:
    """Return a value in [0, 1].

    Raises:
        ValueError: it is not.
    """
    if not 0 <= value <= 1:
        raise ValueError(f'{owner}: {name}={value!r} must be in [0, 1].')
    return value


def _bounds(name: str, value: Number | Sequence[Number]) -> tuple[float, float]:
    if not isinstance(value, Sequence):
        if value < 0:
            raise ValueError(f'ClipRandomAffine: {name}={value!r}; a number from 0 on, or (lowest, highest).')
        return -float(value), float(value)
    if len(value) not in (2, 4) or value[0] > value[1]:
        raise ValueError(f'ClipRandomAffine: {name}={value!r}; a number or (lowest, highest) is needed.')
    return float(value[0]), float(value[1])


def _key(warp: FrameWarp) -> bytes:
    return warp.matrix.tobytes() + bytes([warp.moved])
