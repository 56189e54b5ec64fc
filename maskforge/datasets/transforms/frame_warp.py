"""Where the pixels of one frame go: mirrored, resized, moved, all of it done to the pixels at once."""
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskforge.structures.rle import decode

INTERPOLATIONS = {'nearest': cv2.INTER_NEAREST, 'bilinear': cv2.INTER_LINEAR}
_MIRROR = np.array([[-1., 0, 1], [0, 1, 0], [0, 0, 1]])


@dataclass(frozen=True)
class FrameWarp:
    """A map from a frame of ``source`` (h, w) pixels to one of ``size`` (h, w).

    Attributes:
        matrix: (3, 3) float64, from continuous coordinates (x, y, 1) of the source (the first pixel covers 0 to 1) to
            those of the result.
        moved: pixels were moved in another way than mirroring and resizing.
        mirrored: left and right have changed places; says all there is to say where ``moved`` is False.
        fill: BGR of what the source does not cover.
        interpolation: 'bilinear' or 'nearest', of a moved image; masks take the nearest pixel.
    """

    source: tuple[int, int]
    size: tuple[int, int]
    matrix: np.ndarray
    moved: bool = False
    mirrored: bool = False
    fill: tuple[int, int, int] = (0, 0, 0)
    interpolation: str = 'bilinear'

    @classmethod
    def start(cls, size: tuple[int, int]) -> 'FrameWarp':
        """The map that changes nothing."""
        return cls(tuple(size), tuple(size), np.eye(3))

    def mirror(self) -> 'FrameWarp':
        """Exchange left and right."""
        width = np.diag([self.size[1], 1., 1.])
        return replace(self, matrix=width @ _MIRROR @ np.linalg.inv(width) @ self.matrix,
                       mirrored=not self.mirrored)

    def resize(self, size: tuple[int, int]) -> 'FrameWarp':
        """Stretch to ``size`` (h, w)."""
        scale = np.diag([size[1] / self.size[1], size[0] / self.size[0], 1.])
        return replace(self, size=tuple(size), matrix=scale @ self.matrix)

    def move(self, matrix: np.ndarray, *, fill: tuple[int, int, int], interpolation: str) -> 'FrameWarp':
        """Apply a (3, 3) affine map of the present frame."""
        return replace(self, matrix=matrix @ self.matrix, moved=True, fill=fill, interpolation=interpolation)

    def shows(self, mask: np.ndarray) -> bool:
        """Whether the centre of any pixel of an (h, w) mask of the source lands inside the result."""
        for step in (8, 1):  # a few pixels say it for most masks
            rows, columns = np.nonzero(mask[::step, ::step])
            x, y = self.matrix[:2, :2] @ (np.stack([columns, rows]) * step + 0.5) + self.matrix[:2, 2:]
            if ((x >= 0) & (x < self.size[1]) & (y >= 0) & (y < self.size[0])).any():
                return True
        return False

    def image(self, image: np.ndarray) -> np.ndarray:
        """Warp an (h, w, 3) uint8 image: bilinear, and with antialiasing where it shrinks."""
        if self.moved:
            return self._warp(image, INTERPOLATIONS[self.interpolation], self.fill)
        image = image[:, ::-1] if self.mirrored else image
        if self.size == self.source:
            return np.ascontiguousarray(image)
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        resized = F.interpolate(planes, self.size, mode='bilinear', antialias=True)
        return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())

    def mask(self, segment: np.ndarray | dict | None) -> np.ndarray:
        """Warp a mask to (H, W) bool: a resized pixel is inside where more than half of it is."""
        bitmap = draw_segment(segment, self.source)
        if not bitmap.any():
            return np.zeros(self.size, bool)
        if self.moved:
            return self._warp(bitmap.astype(np.uint8) * 255, cv2.INTER_NEAREST, 0) > 127
        bitmap = bitmap[:, ::-1] if self.mirrored else bitmap
        if self.size == self.source:
            return np.ascontiguousarray(bitmap)
        return resize_bitmap(bitmap, self.size)

    def _warp(self, pixels: np.ndarray, interpolation: int, fill: tuple | int) -> np.ndarray:
        """Warp on a grid that is a whole number finer where the frame shrinks, then average its cells."""
        scale = np.linalg.norm(self.matrix[:2, :2], axis=1)  # pixels of the result per pixel of the source: x, y
        finer = np.maximum(np.round(1 / np.maximum(scale, 1e-6)), 1).clip(max=8).astype(int)
        grid = np.diag([finer[0], finer[1], 1.]) @ self.matrix
        # from continuous coordinates to OpenCV's, whose pixel centres are whole numbers
        to_centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
        centred = to_centres @ grid @ np.linalg.inv(to_centres)
        height, width = self.size
        warped = cv2.warpAffine(np.ascontiguousarray(pixels), centred[:2], (width * int(finer[0]),
                                height * int(finer[1])), flags=interpolation, borderMode=cv2.BORDER_CONSTANT,
                                borderValue=fill)
        return warped if finer.max() == 1 else cv2.resize(warped, (width, height), interpolation=cv2.INTER_AREA)


def resize_bitmap(bitmap: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (H, W) bool: the pixels of which more than half is inside, by bilinear weights with antialiasing.

    Rows are resized where the mask has pixels, then columns where they have: half the time or less for most masks.
    """
    height, width = bitmap.shape
    pixels = np.ascontiguousarray(bitmap, dtype=np.uint8)
    x, y, w, h = cv2.boundingRect(pixels)
    rows = torch.from_numpy(pixels[y:y + h].astype(np.float32))[None, None]
    rows = F.interpolate(rows, (h, size[1]), mode='bilinear', antialias=True)
    reach = 1 + -(-size[1] // width)  # a pixel of the source has weight in so many more of the result
    first, last = max(x * size[1] // width - reach, 0), min((x + w) * size[1] // width + reach + 1, size[1])
    columns = rows.new_zeros(1, 1, height, last - first)
    columns[:, :, y:y + h] = rows[..., first:last]
    share = F.interpolate(columns, (size[0], last - first), mode='bilinear', antialias=True)
    resized = np.zeros(size, bool)
    resized[:, first:last] = share[0, 0].round().bool().numpy()
    return resized


def draw_segment(segment: np.ndarray | dict | None, size: tuple[int, int]) -> np.ndarray:
    """(h, w) bool pixels of a mask: drawn already, an RLE, or None for an empty one."""
    if segment is None:
        return np.zeros(size, bool)
    return decode(segment).view(bool) if isinstance(segment, dict) else segment
