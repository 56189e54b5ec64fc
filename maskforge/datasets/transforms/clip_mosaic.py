"""A clip beside copies of itself, of which only one counts."""
import numpy as np
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .clip_geometry import check_share
from .frame_warp import FrameWarp
from .ground_truth import Number


@TRANSFORMS.register_module()
class ClipMosaic(BaseTransform):
    """Shrink all frames into the cells of a grid; the masks are those of one cell, drawn once for the clip.

    So the model meets look-alikes that are not the object. (SAM 2's second paper version, with probability 0.1.)

    Args:
        prob: probability.
        grid_h, grid_w: rows and columns.
        use_random_hflip: mirror each cell with probability one half, in all frames alike.
    """

    def __init__(self, prob: Number = 0.15, grid_h: int = 2, grid_w: int = 2, use_random_hflip: bool = False) -> None:
        if grid_h < 1 or grid_w < 1:
            raise ValueError(f'ClipMosaic: grid_h={grid_h} and grid_w={grid_w} must be at least 1.')
        self.prob = check_share('ClipMosaic', 'prob', prob)
        self.grid, self.use_random_hflip = (grid_h, grid_w), use_random_hflip

    def transform(self, results: dict) -> dict:
        rng = sample_rng()
        if rng.random() >= self.prob:
            return results
        target = int(rng.integers(self.grid[0] * self.grid[1]))
        mirrored = (rng.random(self.grid) < 0.5) & self.use_random_hflip
        frames = [self._frame(image, mirrored) for image in results['frames']]
        masks = [[self._mask(segment, image.shape[:2], target, mirrored) for segment in segments]
                 for segments, image in zip(results['masks'], results['frames'])]
        return {**results, 'frames': frames, 'masks': masks}

    def _frame(self, image: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        mosaic = np.empty_like(image)
        for place in range(mirrored.size):
            rows, columns = self._cell(place, image.shape[:2])
            warp = self._warp(image.shape[:2], rows, columns, mirrored.flat[place])
            mosaic[rows, columns] = warp.image(image)
        return mosaic

    def _mask(self, segment: np.ndarray | dict | None, size: tuple[int, int], target: int,
              mirrored: np.ndarray) -> np.ndarray:
        mask = np.zeros(size, bool)
        rows, columns = self._cell(target, size)
        mask[rows, columns] = self._warp(size, rows, columns, mirrored.flat[target]).mask(segment)
        return mask

    def _cell(self, place: int, size: tuple[int, int]) -> tuple[slice, slice]:
        spans = []
        for number, count, side in zip(divmod(place, self.grid[1]), self.grid, size):
            spans.append(slice(side * number // count, side * (number + 1) // count))
        return spans[0], spans[1]

    @staticmethod
    def _warp(size: tuple[int, int], rows: slice, columns: slice, mirrored: bool) -> FrameWarp:
        warp = FrameWarp.start(size)
        return (warp.mirror() if mirrored else warp).resize((rows.stop - rows.start, columns.stop - columns.start))
