"""Modules whose activations are computed again in the backward pass."""
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from maskforge.backbones.recompute import recompute

from .sharding_units import named_units


def recompute_modules(model: nn.Module, given: Sequence[str], option: str) -> list[str]:
    """Let the modules that ``given`` means keep no activations in training; names in the state dict stay.

    Args:
        given: dotted names with ``*`` and ``?``, or class names.
        option: what errors call them.

    Returns:
        The modules' names.

    Raises:
        ValueError: an entry means no module; near ones are listed.
    """
    names = named_units(model, given, option)
    outermost = [name for name in names if not any(name.startswith(f'{other}.') for other in names)]
    for name in outermost:
        module = model.get_submodule(name)
        module.forward = _recomputed(module, module.forward)
    return outermost


def _recomputed(module: nn.Module, forward: Callable) -> Callable:
    def run(first: Any, *others: Any, **named: Any) -> Any:
        if not module.training:
            return forward(first, *others, **named)
        return recompute(module, first, run=lambda x: forward(x, *others, **named))
    return run
