"""The masks of one image's instances, kept as polygons or RLE until pixels are needed."""
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from pycocotools import mask as coco_mask
from torch import Tensor

from .bit_planes import pack_row_bits, pad_bits, row_bytes, unpack_bits
from .box_sampling import sample_boxes
from .packed_mask import PackedMask
from .polygons import Rings, affine_rings, check_rings, rasterize, rings_bounds, rings_inside
from .rle import PickedRle, check_rle, decode, encode, pick, to_rle

Segmentation = Rings | dict | PickedRle | PackedMask
FLIPS = ('horizontal', 'vertical', 'diagonal')


class InstanceMasks:
    """N instance masks in a frame of ``height`` x ``width`` pixels; methods return new objects.

    Polygons are transformed exactly and may cross the frame: what lies outside belongs to no mask. RLE is transformed
    as its bitmap would be (nearest neighbour for a resize, as cv2 and MMDetection do), but decoded only at the end.
    Usable as a field of MMEngine's ``InstanceData``.

    :meth:`with_pixels` draws the masks ahead, in a loader worker; ``to_tensor`` then only unpacks them. Choosing
    instances and padding keep the pixels, every other change forgets them.

    Args:
        segmentations: per instance, polygons (a list of rings [x0, y0, x1, y1, ...]; an empty list is an empty mask),
            a COCO RLE dict (``size`` [h, w]; ``counts`` bytes, str or a list of run lengths), or a
            :class:`~maskforge.structures.packed_mask.PackedMask`, which is encoded when its RLE is asked for.
        height, width: the frame in pixels.

    Raises:
        ValueError: a polygon with fewer than three points or an odd count, an RLE of another size than the frame, an
            unknown form; the message names the instance's index.
    """

    # (N, H, B) uint8, see bit_planes; class level, so that pickles made before stay readable
    _pixels: Tensor | None = None

    def __init__(self, segmentations: Sequence, height: int, width: int):
        self._height, self._width = int(height), int(width)
        self._segmentations = [_check(item, self._height, self._width, where=f'segmentation of instance {i}')
                               for i, item in enumerate(segmentations)]

    @classmethod
    def _trusted(cls, segmentations: list[Segmentation], height: int, width: int) -> 'InstanceMasks':
        masks = cls.__new__(cls)
        masks._segmentations, masks._height, masks._width = segmentations, int(height), int(width)
        return masks

    @classmethod
    def from_bitmaps(cls, bitmaps) -> 'InstanceMasks':
        """Build from an (N, H, W) array or tensor of bool or integers; non-zero pixels are inside."""
        if isinstance(bitmaps, Tensor):
            bitmaps = bitmaps.detach().cpu().numpy()
        bitmaps = np.asarray(bitmaps)
        if bitmaps.ndim != 3:
            raise ValueError(f'bitmaps must have the shape (N, H, W), got {bitmaps.shape}')
        return cls._trusted(encode(bitmaps), *bitmaps.shape[1:])

    @classmethod
    def from_rles(cls, rles: Sequence[Mapping], height: int | None = None, width: int | None = None) -> 'InstanceMasks':
        """Build from COCO RLE dicts; without ``height`` and ``width`` the frame is the first one's size."""
        if height is None or width is None:
            if not len(rles):
                raise ValueError('from_rles needs height and width where the list of RLEs is empty')
            height, width = rles[0]['size']
        return cls(rles, height, width)

    @property
    def height(self) -> int:
        """Height of the frame in pixels."""
        return self._height

    @property
    def width(self) -> int:
        """Width of the frame in pixels."""
        return self._width

    @property
    def segmentations(self) -> list[Segmentation]:
        """Per instance, a list of flat float64 arrays (polygons) or an RLE dict with bytes; not to be written to."""
        self._segmentations = [item if isinstance(item, list) else to_rle(item) for item in self._segmentations]
        return self._segmentations

    def __len__(self) -> int:
        return len(self._segmentations)

    def __iter__(self) -> Iterator['InstanceMasks']:
        return (self._with([item]) for item in self._segmentations)

    def __repr__(self) -> str:
        polygons = sum(isinstance(item, list) for item in self._segmentations)
        return (f'InstanceMasks({polygons} as polygons, {len(self) - polygons} as RLE, '
                f'height={self._height}, width={self._width})')

    def __getitem__(self, index) -> 'InstanceMasks':
        """Select instances by int (one instance), slice, or a list, array or tensor of bool or int."""
        if isinstance(index, slice):
            return self._keeping(self._with(self._segmentations[index]), index)
        chosen = index.detach().cpu().numpy() if isinstance(index, Tensor) else np.asarray(index)
        if chosen.ndim == 0:
            chosen = chosen[None]
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise IndexError(f'a bool index of shape {chosen.shape} does not fit {len(self)} masks')
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        return self._keeping(self._with([self._segmentations[i] for i in chosen.tolist()]), chosen)

    @staticmethod
    def cat(masks: Sequence['InstanceMasks']) -> 'InstanceMasks':
        """Join masks of one frame.

        Raises:
            ValueError: the list is empty or the frames differ.
        """
        frames = {(one.height, one.width) for one in masks}
        if len(frames) != 1:
            raise ValueError(f'InstanceMasks.cat needs masks of one frame (h, w), got {sorted(frames)}')
        return InstanceMasks._trusted([item for one in masks for item in one._segmentations], *frames.pop())

    def replace(self, indices: Sequence[int] | np.ndarray, masks: 'InstanceMasks') -> 'InstanceMasks':
        """Return these masks with ``masks`` in the places ``indices``.

        Raises:
            ValueError: the frames or the numbers differ.
        """
        if len(indices) != len(masks) or (masks.height, masks.width) != (self._height, self._width):
            raise ValueError(f'cannot put {masks} in {len(indices)} places of {self}')
        changed = list(self._segmentations)
        for index, item in zip(indices, masks._segmentations):
            changed[int(index)] = item
        return self._with(changed)

    def resize(self, size: tuple[int, int]) -> 'InstanceMasks':
        """Stretch the frame to ``size`` (h, w): polygons are scaled, RLE takes the nearest pixel."""
        height, width = size
        scale = (width / self._width, height / self._height)
        return self._map(lambda rings: affine_rings(rings, scale, (0, 0)),
                         _nearest(self._height, height), _nearest(self._width, width))

    def flip(self, direction: str = 'horizontal') -> 'InstanceMasks':
        """Mirror: 'horizontal' (left and right change places), 'vertical', or 'diagonal' (both)."""
        if direction not in FLIPS:
            raise ValueError(f'flip direction must be one of {", ".join(FLIPS)}, got {direction!r}')
        x, y = direction != 'vertical', direction != 'horizontal'
        scale, shift = (-1 if x else 1, -1 if y else 1), (self._width * x, self._height * y)
        return self._map(lambda rings: affine_rings(rings, scale, shift),
                         _span(0, self._height, self._height)[::-1 if y else 1],
                         _span(0, self._width, self._width)[::-1 if x else 1])

    def crop(self, box) -> 'InstanceMasks':
        """Cut the frame to ``box`` (x0, y0, x1, y1), whole pixels inside the frame."""
        x0, y0, x1, y1 = (int(value) for value in box)
        if not (0 <= x0 < x1 <= self._width and 0 <= y0 < y1 <= self._height):
            raise ValueError(f'the crop (x0, y0, x1, y1) = {(x0, y0, x1, y1)} must hold at least one pixel and lie '
                             f'inside the frame (h, w) = {(self._height, self._width)}')
        return self._window(x0, y0, y1 - y0, x1 - x0)

    def pad(self, size: tuple[int, int]) -> 'InstanceMasks':
        """Extend the frame to ``size`` (h, w) at the bottom and on the right."""
        if size[0] < self._height or size[1] < self._width:
            raise ValueError(f'pad size (h, w) = {tuple(size)} is smaller than the frame {(self._height, self._width)}')
        if tuple(size) == (self._height, self._width):
            return self[:]
        padded = self._window(0, 0, *size)
        padded._pixels = None if self._pixels is None else pad_bits(self._pixels, *size)
        return padded

    def translate(self, dx: int, dy: int, *, size: tuple[int, int] | None = None) -> 'InstanceMasks':
        """Move all masks by whole pixels (right and down are positive) into a frame of ``size`` (h, w)."""
        return self._window(-int(dx), -int(dy), *(size or (self._height, self._width)))

    def with_pixels(self) -> 'InstanceMasks':
        """Return the same masks with their pixels drawn and kept, at one bit each."""
        drawn = self._with(self._segmentations)
        rows = [pack_row_bits(bitmap) for bitmap in self._bitmaps()]
        drawn._pixels = torch.from_numpy(np.stack(rows) if rows else np.zeros(
            (0, self._height, row_bytes(self._width)), np.uint8))
        return drawn

    def encoded(self) -> 'InstanceMasks':
        """Return the same masks with bits as RLE, to be kept: it takes a fraction of the memory."""
        items = [to_rle(item) if isinstance(item, PackedMask) else item for item in self._segmentations]
        return self._keeping(self._with(items), slice(None))

    def pin_memory(self) -> 'InstanceMasks':
        """Return the same masks with their drawn pixels, if they are drawn, in page-locked memory."""
        masks = self._with(self._segmentations)
        masks._pixels = None if self._pixels is None else self._pixels.pin_memory()
        return masks

    def to_bitmaps(self) -> Bool[np.ndarray, 'N H W']:
        """Return all masks as pixels; N x H x W bytes."""
        if self._pixels is not None:
            return unpack_bits(self._pixels, self._width).numpy()
        bitmaps = np.zeros((len(self), self._height, self._width), dtype=np.uint8)
        for bitmap, drawn in zip(bitmaps, self._bitmaps()):
            bitmap[:] = drawn
        return bitmaps.view(bool)

    def to_tensor(self, device='cpu') -> Bool[Tensor, 'N H W']:
        """Return all masks as pixels in a tensor on ``device``."""
        if self._pixels is not None:
            return unpack_bits(self._pixels.to(device, non_blocking=True), self._width)
        return torch.from_numpy(self.to_bitmaps()).to(device, non_blocking=True)

    def to_rles(self) -> list[dict]:
        """Return one COCO RLE per instance: ``size`` [h, w], ``counts`` compressed, as bytes."""
        return [to_rle(item) for item in self._drawn()]

    def areas(self) -> Int64[np.ndarray, ' N']:
        """Return the number of pixels of each mask inside the frame."""
        # boxes and areas are asked for after a crop, often both: what was moved is encoded once and stays so
        rles = self._with(self.segmentations).to_rles()
        return coco_mask.area(rles).astype(np.int64) if len(self) else np.zeros(0, dtype=np.int64)

    def bboxes(self) -> Float32[np.ndarray, 'N 4']:
        """Return tight boxes, xyxy: of polygons to their corners, of RLE and cut polygons to whole pixels.

        An empty mask has the box (0, 0, 0, 0).
        """
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        pixels = []
        # moved masks are encoded once and stay so
        self._segmentations = [to_rle(item) if isinstance(item, PickedRle) else item for item in self._segmentations]
        for i, item in enumerate(self._segmentations):
            if isinstance(item, PackedMask):
                boxes[i] = item.box
            elif isinstance(item, list) and not self._crosses(item):
                boxes[i] = rings_bounds(item) or 0
            else:
                pixels.append(i)
        if pixels:
            xywh = coco_mask.toBbox(self[pixels].to_rles())
            boxes[pixels] = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        return boxes

    def crop_and_resize(self, boxes, inds, size: int, *, soft: bool = False,
                        aligned: bool = True) -> Bool[np.ndarray, 'M S S'] | Float32[np.ndarray, 'M S S']:
        """Return the mask targets of M boxes: what of mask ``inds[m]`` lies in ``boxes[m]``, on an S x S grid.

        Polygons are moved and scaled into the grid and rasterised there; RLE goes through RoIAlign (as many samples
        as pixels) on the part of the bitmap that the boxes cover, and is inside from 0.5.

        Args:
            boxes: (M, 4) array or tensor, xyxy, in this frame.
            inds: (M,) indices of masks.
            size: S, pixels.
            soft: return RoIAlign's averages (float32, in [0, 1]) of all masks' bitmaps, as torchvision's targets are.
            aligned: RoIAlign with the half-pixel shift; False for torchvision's targets.
        """
        boxes, inds = _as_array(boxes, np.float32).reshape(-1, 4), _as_array(inds, np.int64)
        targets = np.zeros((len(boxes), size, size), dtype=np.float32 if soft else bool)
        drawn = np.array([not soft and isinstance(self._segmentations[i], list) for i in inds], dtype=bool)
        if drawn.any():
            targets[drawn] = self._draw_in_boxes(boxes[drawn], inds[drawn], size)
        for i in np.unique(inds[~drawn]):
            rows = ~drawn & (inds == i)
            sampled = self._sample_in_boxes(boxes[rows], int(i), size, aligned)
            # the small allowance puts exact halves inside, however the sum was rounded
            targets[rows] = sampled if soft else sampled >= 0.5 - 1e-6
        return targets

    def _draw_in_boxes(self, boxes: np.ndarray, inds: np.ndarray, size: int) -> Bool[np.ndarray, 'M S S']:
        # a box thinner than 0.1 pixel is treated as 0.1 wide, which bounds the scale (MMDetection's rule)
        scales = size / np.maximum(boxes[:, 2:] - boxes[:, :2], 0.1).astype(np.float64)
        rings = [affine_rings(self._segmentations[i], tuple(scale), tuple(-box[:2] * scale))
                 for i, box, scale in zip(inds, boxes, scales)]
        return np.stack([decode(rle) for rle in rasterize(rings, size, size)]).view(bool)

    def _sample_in_boxes(self, boxes: np.ndarray, index: int, size: int,
                         aligned: bool) -> Float32[np.ndarray, 'M S S']:
        # a margin of two pixels holds every neighbour that bilinear sampling reads
        low = np.floor(boxes[:, :2].min(axis=0)).astype(int) - 2
        high = np.ceil(boxes[:, 2:].max(axis=0)).astype(int) + 2
        frame = np.array([self._width, self._height])
        low, high = low.clip(0, frame - 1), high.clip(1, frame)
        bitmap = self[index].crop((*low, *np.maximum(high, low + 1))).to_bitmaps()[0]
        return sample_boxes(bitmap, boxes - np.tile(low, 2).astype(np.float32), size, aligned=aligned)

    def _bitmaps(self) -> Iterator[UInt8[np.ndarray, 'H W']]:
        """Yield one bitmap after the other."""
        return (decode(item) for item in self._drawn())

    def _keeping(self, chosen: 'InstanceMasks', index) -> 'InstanceMasks':
        chosen._pixels = None if self._pixels is None else self._pixels[index]
        return chosen

    def _with(self, segmentations: list[Segmentation]) -> 'InstanceMasks':
        return self._trusted(segmentations, self._height, self._width)

    def _crosses(self, rings: Rings) -> bool:
        bounds = rings_bounds(rings)
        return bounds is not None and (min(bounds) < 0 or bounds[2] > self._width or bounds[3] > self._height)

    def _drawn(self, *, only_crossing: bool = False) -> list[Segmentation]:
        """Return the segmentations with polygons as RLE, or only those that cross the frame."""
        draw = [isinstance(item, list) and (not only_crossing or self._crosses(item)) for item in self._segmentations]
        rles = iter(rasterize([item for item, chosen in zip(self._segmentations, draw) if chosen],
                              self._height, self._width))
        return [next(rles) if chosen else item for item, chosen in zip(self._segmentations, draw)]

    def _map(self, of_rings: Callable[[Rings], Rings], rows: np.ndarray, columns: np.ndarray) -> 'InstanceMasks':
        """Apply ``of_rings`` to polygons, and pick ``rows`` and ``columns`` of bitmaps."""
        # masks that were moved together keep sharing their index arrays
        shared: dict[tuple[int, int], PickedRle] = {}
        moved: list[Segmentation] = []
        for item in self._segmentations:
            if isinstance(item, PickedRle):
                key = id(item.rows), id(item.columns)
                if key not in shared:
                    shared[key] = pick(item, rows, columns)
                moved.append(shared[key]._replace(rle=item.rle))
            else:
                moved.append(of_rings(item) if isinstance(item, list) else pick(item, rows, columns))
        return self._trusted(moved, len(rows), len(columns))

    def _window(self, x0: int, y0: int, height: int, width: int) -> 'InstanceMasks':
        """See the masks through a window of ``height`` x ``width`` at (x0, y0); what was outside stays invisible."""
        grows = x0 < 0 or y0 < 0 or x0 + width > self._width or y0 + height > self._height
        masks = self._with(self._drawn(only_crossing=True)) if grows else self
        return masks._map(lambda rings: rings_inside(affine_rings(rings, (1, 1), (-x0, -y0)), height, width),
                          _span(y0, height, self._height), _span(x0, width, self._width))


def _check(item, height: int, width: int, *, where: str) -> Segmentation:
    if isinstance(item, PackedMask):
        if item.size != (height, width):
            raise ValueError(f'{where}: the mask has size (h, w) = {item.size}, the image has {(height, width)}')
        return item
    if isinstance(item, Mapping):
        return check_rle(item, height, width, where=where)
    if isinstance(item, Sequence) and not isinstance(item, str | bytes):
        return check_rings(item, where=where)
    raise ValueError(f'{where}: expected polygons (a list of lists of numbers) or an RLE dict with size and counts, '
                     f'got {type(item).__name__}: {str(item)[:80]}')


def _nearest(old: int, new: int) -> np.ndarray:
    # 1 / (new / old), not old / new: cv2 rounds in this order
    return np.minimum(np.arange(new) * (1 / (new / old)), old - 1).astype(np.int32)


def _span(start: int, length: int, limit: int) -> np.ndarray:
    """Indices start, start + 1, ...; -1 where they leave 0 ... limit - 1."""
    indices = np.arange(start, start + length, dtype=np.int32)
    indices[(indices < 0) | (indices >= limit)] = -1
    return indices


def _as_array(values, dtype: type) -> np.ndarray:
    return values.detach().cpu().numpy().astype(dtype) if isinstance(values, Tensor) else np.asarray(values, dtype)
