"""What the benchmark of data loading measures, recipe by recipe."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from torch.utils.data import Dataset

from maskforge.structures import seeded_sample


@dataclass(frozen=True)
class LoadingRecipe:
    """Two ways to load the same samples once.

    Attributes:
        name: of the recipe.
        ours, peer: load all samples.
        peer_name: what the peer is written with.
        images: images that are loaded (of SAM 2: frames; of MAL: boxes).
        note: what was checked.
    """

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    peer_name: str
    images: int
    note: str


def seeded_items(dataset: Dataset, count: int) -> Callable[[], None]:
    """A function that loads ``count`` samples, each with random numbers of its own, as the engine does."""
    def run() -> None:
        for index in range(count):
            with seeded_sample(index):
                dataset[index]
    return run


def bitmap_of(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """(H, W) uint8 pixels of polygons or RLE, by pycocotools."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return coco_mask.decode(segmentation)


def smallest_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """The smallest IoU of pairs of (N, H, W) masks; 1 where both are empty."""
    first, second = first.astype(bool), second.astype(bool)
    common, either = (first & second).sum((1, 2)), (first | second).sum((1, 2))
    return float(np.where(either > 0, common / np.maximum(either, 1), 1.).min(initial=1.))
