"""Gradient clipping as a config describes it."""
import difflib
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

_BOUNDS = {'norm': 'max_norm', 'full': 'max_norm', 'per_parameter': 'max_norm', 'value': 'clip_value'}
_NORM_OPTIONS = ('norm_type', 'error_if_nonfinite', 'foreach')
_OPTIONS = {'norm': _NORM_OPTIONS, 'per_parameter': _NORM_OPTIONS, 'value': ('foreach',)}


class GradientClipping:
    """Clips the gradients of all parameters together, or of each by itself.

    Args:
        config: ``dict(max_norm=0.1, norm_type=2)`` scales the gradients of the whole model so that their norm is at
            most ``max_norm`` (``type='norm'``, the default; ``'full'`` is another name of it). With
            ``type='per_parameter'`` the norm of each parameter's gradient is at most ``max_norm``, and
            ``dict(type='value', clip_value=1.0)`` cuts each entry. A bound of 0 turns clipping off, as None does.

    Raises:
        ValueError: an unknown type or option, or a bound that is missing or negative.
    """

    def __init__(self, config: dict[str, Any] | None):
        options = dict(config or {})
        kind = options.pop('type', 'norm')
        if kind not in _BOUNDS:
            raise ValueError(f"clip_grad.type must be one of {', '.join(_BOUNDS)}, got {kind!r}.")
        self.kind = 'norm' if kind == 'full' else kind
        self.bound = self._bound(config, options)
        self.options = options

    def _bound(self, config: dict[str, Any] | None, options: dict[str, Any]) -> float:
        if config is None:
            return 0.0
        name = _BOUNDS[self.kind]
        for option in options:
            if option not in (name, *_OPTIONS[self.kind]):
                near = difflib.get_close_matches(option, (name, *_OPTIONS[self.kind]), n=1)
                raise ValueError(f'clip_grad.{option} is unknown for type={self.kind!r}'
                                 + (f'; did you mean {near[0]}?' if near else
                                    f'; known: {name}, {", ".join(_OPTIONS[self.kind])}.'))
        bound = options.pop(name, None)
        if bound is None or bound < 0:
            raise ValueError(f'clip_grad needs {name} (0 turns clipping off), got {bound}.')
        return float(bound)

    def __bool__(self) -> bool:
        return self.bound > 0

    def __call__(self, parameters: Iterable[Tensor]) -> Tensor | None:
        """Clip in place; return the norm before clipping, a tensor on the device (None unless it is the model's)."""
        with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
        if not with_gradient:
            return None
        if self.kind == 'norm':
            return nn.utils.clip_grad_norm_(with_gradient, self.bound, **self.options)
        if self.kind == 'per_parameter':
            for parameter in with_gradient:
                nn.utils.clip_grad_norm_(parameter, self.bound, **self.options)
            return None
        nn.utils.clip_grad_value_(with_gradient, self.bound, **self.options)
        return None
