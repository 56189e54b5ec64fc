"""Layer-wise learning-rate decay."""
import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from maskforge.layers.name_patterns import name_matches
from maskforge.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .optim_wrapper_constructor import OPTIONS, DefaultOptimWrapperConstructor
from .parameter_rules import ParameterRules


class LayerDecay:
    """The factor ``rate ** (L - l)`` of a parameter in layer ``l``, ``L`` being the deepest layer plus ``beyond``.

    Args:
        model: asked for the layer of a parameter: the method ``layer_id(name) -> int | None`` of the part, or of the
            nearest module around it. Layer 0 is the embedding, None stands for what is not decayed (the heads).
        rate: in (0, 1].
        part: dotted name of the submodule that is decayed; all of the model by default. What it is wrapped in may be
            left out.
        overrides: ``{pattern of names: factor}`` for parameters of the part that take this factor.
        minimum: no factor is below it, overrides excepted.
        beyond: layers that are counted behind the deepest.

    Raises:
        ValueError: a rate out of range, an unknown part, one without layers, or nobody has ``layer_id``.
    """

    def __init__(self, model: nn.Module, *, rate: float, part: str = '', overrides: Mapping[str, float] | None = None,
                 minimum: float | None = None, beyond: int = 0):
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise ValueError(f'paramwise_cfg: the rate of layer decay must lie in (0, 1], got {rate}.')
        self.rate, self.overrides, self.minimum = rate, dict(overrides or {}), minimum
        self._layers = _layers(model, _find_part(model, part))
        depths = [layer for layer in self._layers.values() if layer is not None]
        if part and not depths:
            raise ValueError(f"paramwise_cfg.layer_decay.part='{part}': {type(model).__name__}.layer_id gives no layer "
                             'to any parameter of it.')
        self.deepest = max(depths, default=0) + beyond

    def factor(self, name: str) -> float | None:
        """The factor of the parameter's learning rate; None where it is not decayed."""
        if name not in self._layers:
            return None
        for pattern, factor in self.overrides.items():
            if name_matches(name, [pattern]):
                return factor
        layer = self._layers[name]
        if layer is None:
            return None
        return max(self.rate ** (self.deepest - layer), self.minimum or 0.0)


def _find_part(model: nn.Module, part: str) -> str:
    modules = [name for name, _ in model.named_modules()]
    found = [name for name in modules if name == part or name.endswith(f'.{part}')] if part else ['']
    if len(found) != 1:
        near = found if found else difflib.get_close_matches(part, modules, n=3, cutoff=0.5)
        raise ValueError(f"paramwise_cfg.layer_decay.part='{part}' names {len(found)} modules of "
                         f'{type(model).__name__}, it must name one; near ones: {", ".join(near) or modules[1:4]}.')
    return found[0]


def _layers(model: nn.Module, part: str) -> dict[str, int | None]:
    """Layers of the part's parameters, by their names in the model; the nearest module that knows them is asked."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)
             if not part or name.startswith(f'{part}.')]
    owner = part
    while owner and not hasattr(model.get_submodule(owner), 'layer_id'):
        owner = owner.rpartition('.')[0]
    asked = model.get_submodule(owner)
    if not hasattr(asked, 'layer_id'):
        raise ValueError(f'{type(model).__name__} has no method layer_id(name) -> int | None, which layer decay asks '
                         'for the depth of a parameter.')
    return {name: asked.layer_id(name.removeprefix(f'{owner}.')) for name in names}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Multiplies the learning rate of layer ``l`` by ``decay_rate ** (L - l)``, ``L`` being the deepest layer.

    The model says which layer a parameter is in (:class:`LayerDecay`). All options of
    ``DefaultOptimWrapperConstructor`` apply as well, and the decay comes on top of them. (ELECTRA, section 3.1; BEiT,
    appendix.)

    Args:
        optim_wrapper_cfg: see :class:`DefaultOptimWrapperConstructor`.
        paramwise_cfg: its options, and ``decay_rate`` in (0, 1], which is required.

    Raises:
        ValueError: ``decay_rate`` is missing or out of range, ``optimizer.lr`` is missing, or the model has no
            ``layer_id``.
    """

    options = (*OPTIONS, 'decay_rate')

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rate = self.paramwise_cfg.get('decay_rate')
        if rate is None or not 0 < rate <= 1:
            raise ValueError(f'paramwise_cfg.decay_rate must lie in (0, 1], got {rate}.')
        self._decay: LayerDecay | None = None

    def __call__(self, model: nn.Module):
        """See :class:`DefaultOptimWrapperConstructor`."""
        self._decay = LayerDecay(getattr(model, 'module', model), rate=self.paramwise_cfg['decay_rate'])
        return super().__call__(model)

    def parameter_options(self, rules: ParameterRules, name: str, module: nn.Module, model: nn.Module) -> dict:
        """The usual options with the decayed learning rate."""
        options = super().parameter_options(rules, name, module, model)
        factor = self._decay.factor(name)
        if factor is None:
            return options
        rate = options.get('lr', rules.scaled_lr(1.0, 'decay_rate'))
        return {**options, 'lr': rate * factor}
