"""J and F of the objects of one video, frame by frame."""
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from maskforge.formats.vos_layout import split_ids

from .region_boundary import BOUND, boundary_radius, joint_window, region_and_boundary


class ObjectScore(NamedTuple):
    """Means over the frames of one object, in [0, 1]."""

    j: float
    f: float
    frames: int

    @property
    def jf(self) -> float:
        """The mean of both."""
        return (self.j + self.f) / 2


class SequenceScores:
    """Collects J and F of every object of a video.

    An object counts from the first frame in which it is in the truth or in the prediction, up to the last one. Objects
    that are never in the truth are dropped at the end.

    Args:
        bound: tolerance of F as a part of the frame's diagonal.
    """

    def __init__(self, *, bound: float = BOUND) -> None:
        self.bound = bound
        self._true: set[int] = set()
        self._values: dict[int, list[tuple[float, float]]] = defaultdict(list)

    def add(self, predicted: Mapping[int, np.ndarray], truth: Mapping[int, np.ndarray], *,
            size: tuple[int, int]) -> None:
        """Score one frame.

        Args:
            predicted, truth: object id -> (H, W) bool or 0/1 uint8 mask; an object that is left out or whose mask is
                empty is not to be seen.
            size: (H, W).
        """
        self._add(predicted, truth, size, boundary_radius(*size, bound=self.bound))

    def add_ids(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Score one frame given as two (H, W) maps of object ids; 0 is background."""
        window = joint_window(predicted, truth) or (slice(0, 1), slice(0, 1))
        radius = boundary_radius(*truth.shape, bound=self.bound)
        predicted, truth = predicted[window], truth[window]
        self._add(split_ids(predicted), split_ids(truth), truth.shape, radius)

    def _add(self, predicted: Mapping[int, np.ndarray], truth: Mapping[int, np.ndarray], size: tuple[int, int],
             radius: int) -> None:
        predicted = {number: mask for number, mask in predicted.items() if mask.any()}
        truth = {number: mask for number, mask in truth.items() if mask.any()}
        nothing = np.zeros(size, np.uint8)
        self._true.update(truth)
        for number in {*self._values, *predicted, *truth}:
            pair = predicted.get(number, nothing), truth.get(number, nothing)
            empty = number not in predicted and number not in truth
            self._values[number].append((1.0, 1.0) if empty else region_and_boundary(*pair, radius=radius))

    def scores(self) -> dict[int, ObjectScore]:
        """Object id -> its means, for the objects in the truth, by rising id."""
        means = {number: np.mean(self._values[number], axis=0) for number in sorted(self._true)}
        return {number: ObjectScore(float(j), float(f), len(self._values[number])) for number, (j, f) in means.items()}
