"""The interface of a public weight layout: how another library names the tensors of one of our models."""
from abc import ABC, abstractmethod

from torch import Tensor, nn


class CheckpointLayout(ABC):
    """How the tensors of a public checkpoint line up with one of our models.

    A model's ``weights.py`` subclasses it and registers the class in ``CHECKPOINT_LAYOUTS``; ``load_weights`` asks
    every layout whose ``models`` name the model's class (or a base of it).

    Attributes:
        models: names of the model classes, as registered in ``MODELS``.
    """

    models: tuple[str, ...] = ()

    @abstractmethod
    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether the names (and shapes) are of this layout and of no other."""

    @abstractmethod
    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under our names; what has no place in ``model`` may be left out or kept as it is."""

    @abstractmethod
    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return our tensors under the layout's names: the inverse of :meth:`to_ours`."""

    def fits(self, model: nn.Module) -> bool:
        """Whether the layout speaks of this model."""
        return bool({base.__name__ for base in type(model).__mro__} & set(self.models))
