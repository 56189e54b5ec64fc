"""Boxes in an order in which those of one image follow one another."""
import numpy as np

from maskforge.registry import DATA_SAMPLERS

from .default_sampler import DefaultSampler, epoch_order


@DATA_SAMPLERS.register_module()
class GroupedBoxSampler(DefaultSampler):
    """Shuffles images, not boxes, so that each image is decoded once; every rank has one stretch of the order.

    Args:
        dataset: with ``image_of_box()``, (N,) numbers of the images of its records, such as ``BoxCropDataset``.
        shuffle, seed, round_up: as in :class:`DefaultSampler`.

    Raises:
        ValueError: the data set has no boxes of images.
    """

    def __init__(self, dataset, shuffle: bool = True, seed: int | None = None, round_up: bool = True) -> None:
        if not hasattr(dataset, 'image_of_box'):
            raise ValueError(f'GroupedBoxSampler: {type(dataset).__name__} has no image_of_box(); it samples boxes of '
                             f'a BoxCropDataset.')
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=round_up)

    def positions(self) -> np.ndarray:
        """This rank's stretch of the global order, int64; a position past its end wraps around."""
        size = self.epoch_size
        if self.round_up:
            share = -(-size // self.world_size)
            return np.arange(self.rank * share, (self.rank + 1) * share)
        return np.array_split(np.arange(size), self.world_size)[self.rank]

    def order(self) -> np.ndarray:
        """Indices of the current epoch in the global order, int64."""
        images = np.asarray(self.dataset.image_of_box())
        numbers, groups = np.unique(images, return_inverse=True)
        ranks = np.empty(len(numbers), np.int64)
        ranks[epoch_order(len(numbers), seed=self.seed, epoch=self.epoch, shuffle=self.shuffle)] = np.arange(
            len(numbers))
        return np.argsort(ranks[groups], kind='stable')
