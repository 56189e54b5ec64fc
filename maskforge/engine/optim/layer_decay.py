"""Layer-wise learning-rate decay."""
from typing import Any

from torch import nn

from maskforge.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .optim_wrapper_constructor import OPTIONS, DefaultOptimWrapperConstructor
from .parameter_rules import ParameterRules


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Multiplies the learning rate of layer ``l`` by ``decay_rate ** (L - l)``, ``L`` being the deepest layer.

    The model says which layer a parameter is in: ``model.layer_id(name) -> int | None``; layer 0 is the embedding,
    None stands for parts that are not decayed (the heads). All options of ``DefaultOptimWrapperConstructor`` apply as
    well, and the decay comes on top of them. (ELECTRA, section 3.1; BEiT, appendix.)

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
        self.decay_rate = rate
        self._deepest = 0

    def __call__(self, model: nn.Module):
        """See :class:`DefaultOptimWrapperConstructor`."""
        inner = getattr(model, 'module', model)
        if not hasattr(inner, 'layer_id'):
            raise ValueError(f'{type(inner).__name__} has no method layer_id(name) -> int | None, which '
                             'LayerDecayOptimWrapperConstructor asks for the depth of a parameter.')
        layers = [inner.layer_id(name) for name, _ in inner.named_parameters()]
        self._deepest = max((layer for layer in layers if layer is not None), default=0)
        return super().__call__(model)

    def parameter_options(self, rules: ParameterRules, name: str, module: nn.Module, model: nn.Module) -> dict:
        """The usual options with the decayed learning rate."""
        options = super().parameter_options(rules, name, module, model)
        layer = model.layer_id(name)
        if layer is None:
            return options
        rate = options.get('lr', rules.scaled_lr(1.0, 'decay_rate'))
        return {**options, 'lr': rate * self.decay_rate ** (self._deepest - layer)}
