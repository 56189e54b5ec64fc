"""The interface of a public weight layout: how another library names the tensors of one of our models."""
import difflib
from abc import ABC, abstractmethod

from torch import Tensor, nn

from maskforge.registry import CHECKPOINT_LAYOUTS


class CheckpointLayout(ABC):
    """How the tensors of a public checkpoint line up with one of our models.

    A model's ``weights.py`` subclasses it and registers the class in ``CHECKPOINT_LAYOUTS``; ``load_weights`` asks
    every layout whose ``models`` name the model's class (or a base of it).

    Attributes:
        models: names of the model classes, as registered in ``MODELS``.
        container: key of the layout's files under which their weights lie; None is the top level.
    """

    models: tuple[str, ...] = ()
    container: str | None = None

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


def find_layout(name: str, model: nn.Module) -> CheckpointLayout:
    """Return the registered layout of that name.

    Raises:
        ValueError: there is none, or it is of other models; the message lists those of ``model``.
    """
    CHECKPOINT_LAYOUTS.import_from_location()
    known = {key: cls() for key, cls in CHECKPOINT_LAYOUTS.module_dict.items()}
    fitting = sorted(key for key, layout in known.items() if layout.fits(model))
    allowed = f'{type(model).__name__} has {", ".join(fitting) or "none"}.'
    if name not in known:
        near = difflib.get_close_matches(name, fitting, n=1, cutoff=0.6)
        raise ValueError(f"there is no layout '{name}'{f'; did you mean {near[0]}?' if near else '.'} {allowed}")
    if name not in fitting:
        raise ValueError(f'{name} is a layout of {", ".join(known[name].models)}; {allowed}')
    return known[name]
