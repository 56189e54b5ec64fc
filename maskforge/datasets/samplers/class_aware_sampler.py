"""Every class as often as any other, however rare it is."""
from collections.abc import Sized

import numpy as np

from maskforge.registry import DATA_SAMPLERS

from .default_sampler import DefaultSampler


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(DefaultSampler):
    """Goes round the classes in random order and takes, for each in turn, the next image that shows it.

    An epoch is as long as the data set; images of rare classes come up several times, some of frequent ones not at
    all. Images without objects are never drawn. (Shen et al., Relay Backpropagation, 2016, section 3.3.)

    Args:
        dataset: has ``get_cat_ids(index)``.
        seed: the run's seed; None draws one that all ranks share.
        num_sample_class: images in a row for one class.

    Raises:
        ValueError: no image has an object, or ``num_sample_class`` is not positive.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, num_sample_class: int = 1) -> None:
        super().__init__(dataset, shuffle=True, seed=seed, round_up=True)
        if not isinstance(num_sample_class, int) or num_sample_class < 1:
            raise ValueError(f'num_sample_class={num_sample_class!r}: a positive integer is needed.')
        self.num_sample_class = num_sample_class
        self._images_of = _images_by_class(dataset)

    def order(self) -> np.ndarray:
        """Indices of the current epoch in the global order, int64."""
        rng = np.random.default_rng((self.seed, self.epoch))
        size, classes = len(self.dataset), list(self._images_of)
        rounds = -(-size // (len(classes) * self.num_sample_class))
        turns = np.concatenate([rng.permutation(len(classes)) for _ in range(rounds)]).repeat(self.num_sample_class)
        order = np.empty(len(turns), np.int64)
        for number, name in enumerate(classes):
            places = np.flatnonzero(turns == number)
            order[places] = _cycle(self._images_of[name], len(places), rng)
        return order[:size]


def _images_by_class(dataset: Sized) -> dict[int, np.ndarray]:
    found: dict[int, list[int]] = {}
    for index in range(len(dataset)):
        for label in sorted(set(dataset.get_cat_ids(index))):
            found.setdefault(label, []).append(index)
    if not found:
        raise ValueError('no image of the data set has an object; ClassAwareSampler needs some.')
    return {label: np.array(found[label]) for label in sorted(found)}


def _cycle(images: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` images: one permutation after another."""
    passes = [rng.permutation(images) for _ in range(-(-count // len(images)))]
    return np.concatenate(passes)[:count] if passes else images[:0]
