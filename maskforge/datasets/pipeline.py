"""The chain of transforms of a data set."""
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.dataset import Compose

from maskforge.registry import TRANSFORMS


class Pipeline(Compose):
    """MMEngine's ``Compose``, built from our registry, so that it works without a default scope as well.

    A transform that returns None ends the chain; the data set then draws another record.
    """

    def __init__(self, transforms: Sequence[dict | Callable] | None) -> None:
        super().__init__([build_transform(transform) for transform in transforms or ()])


def build_transform(transform: dict | Callable) -> Callable[[dict], Any]:
    """Build a transform from its config; a callable is returned as it is.

    Raises:
        TypeError: it is neither; the message shows what it is.
    """
    built = TRANSFORMS.build(transform) if isinstance(transform, dict) else transform
    if not callable(built):
        raise TypeError(f'a pipeline holds configs (dicts with a type) and callables; got {transform!r}.')
    return built
