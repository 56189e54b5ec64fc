"""Freezing parts of a model by their names."""
import difflib
from collections.abc import Sequence

from torch import nn


def freeze_modules(model: nn.Module, names: Sequence[str]) -> None:
    """Take the gradient from the parts with these dotted names, and put them into evaluation mode.

    Evaluation mode stops dropout and the running statistics of batch norms; ``model.train()`` undoes it, so a model
    that freezes parts calls this again from its ``train``.

    Args:
        names: of modules or single parameters, such as ``'backbone'`` or ``'encoder.layers.0'``.

    Raises:
        ValueError: a name that the model does not have; near ones are listed.
    """
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name in names:
        if name in modules and name:
            modules[name].eval()
            modules[name].requires_grad_(False)
        elif name in parameters:
            parameters[name].requires_grad_(False)
        else:
            raise ValueError(_unknown(name, [*modules, *parameters]))


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    top = sorted({entry.split('.')[0] for entry in known if entry})
    hint = f'did you mean {" or ".join(near)}?' if near else f'its parts are {", ".join(top)}.'
    return f"freeze: the model has no part named '{name}'; {hint}"
