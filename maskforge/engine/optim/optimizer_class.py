"""The optimizer that a config names."""
import importlib

from maskforge.registry import OPTIMIZERS

# names that MMEngine registers only where another package is installed: (prefix of the name, what brings it)
_CONDITIONAL = (
    ('Adafactor', 'it is transformers\' Adafactor (pip install transformers); torch\'s own is TorchAdafactor'),
    ('Lion', 'pip install lion-pytorch brings it'),
    ('DAdapt', 'pip install dadaptation brings it'),
    ('Sophia', 'the package Sophia brings it'),
    ('bnb_', 'pip install bitsandbytes brings it'),
    ('PagedAdam', 'pip install bitsandbytes brings it'),
)


def optimizer_class(name: str | type | None) -> type:
    """Look up ``optimizer.type``.

    Raises:
        KeyError: not registered: near names, or the package that is missing.
        ValueError: no type was given.
    """
    if name is None:
        raise ValueError("optim_wrapper.optimizer has no type; for example dict(type='SGD', lr=0.02, momentum=0.9).")
    if not isinstance(name, str):
        return name
    importlib.import_module('mmengine.optim')  # registers torch's optimizers
    try:
        return OPTIMIZERS.get(name)
    except KeyError as error:
        for prefix, remedy in _CONDITIONAL:
            if name.startswith(prefix):
                raise KeyError(f"optimizer.type='{name}' is not available: {remedy}.") from None
        raise error
