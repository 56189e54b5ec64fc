"""Options of the optimizer by pattern and class, with layer decay for a part of the model."""
import difflib
from typing import Any

from torch import nn

from maskforge.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .layer_decay import LayerDecay
from .optim_wrapper_constructor import OPTIONS, DefaultOptimWrapperConstructor
from .optimizer_class import optimizer_class
from .option_rules import OptionRules
from .parameter_rules import ParameterRules

_LAYER_DECAY = ('rate', 'part', 'overrides', 'min')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PatternOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Gives each option (``lr``, ``weight_decay``, ``betas``, ...) by patterns of names and by classes of modules.

    As SAM 2 is trained: the image encoder learns at a rate of its own, its trunk with layer decay, and biases and
    layer norms do not decay::

        paramwise_cfg=dict(
            rules=dict(
                lr=[dict(value=3e-6, param_names=['image_encoder.*'], name='vision')],
                weight_decay=[dict(value=0.0, param_names=['*bias*'], module_cls_names=['torch.nn.LayerNorm'])]),
            layer_decay=dict(rate=0.9, part='image_encoder.trunk', overrides={'*pos_embed*': 1.0}))

    What no rule matches takes the optimizer's own setting. Groups with equal settings are one group. A rule with a
    ``name`` has groups of its own, which schedules find by it (``dict(type='CosineAnnealingLR', groups='vision')``).

    Args:
        optim_wrapper_cfg: see :class:`DefaultOptimWrapperConstructor`.
        paramwise_cfg: all of its options; rules go before them. Beside them
            rules: see :class:`OptionRules`.
            layer_decay: ``rate``, ``part``, ``overrides`` and ``min`` of :class:`LayerDecay`; ``L`` is one more than
                the deepest layer of the part. It multiplies what the rules say.

    Raises:
        ValueError: rules that overlap or leave a parameter without a value (parameters are named), unknown options,
            a part or a class that does not exist.
    """

    options = (*OPTIONS, 'rules', 'layer_decay')

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        for key in self.paramwise_cfg.get('layer_decay') or {}:
            if key not in _LAYER_DECAY:
                near = difflib.get_close_matches(key, _LAYER_DECAY, n=1)
                raise ValueError(f'paramwise_cfg.layer_decay.{key} is unknown'
                                 + (f'; did you mean {near[0]}?' if near else f'; known: {", ".join(_LAYER_DECAY)}.'))
        self._rules: OptionRules | None = None
        self._decay: LayerDecay | None = None

    def __call__(self, model: nn.Module):
        """See :class:`DefaultOptimWrapperConstructor`."""
        inner = getattr(model, 'module', model)
        self._rules = OptionRules(self.paramwise_cfg.get('rules') or {}, model=inner, optimizer_cfg=self.optimizer_cfg,
                                  optimizer=optimizer_class(self.optimizer_cfg.get('type')))
        decay = dict(self.paramwise_cfg.get('layer_decay') or {})
        if decay:
            if 'rate' not in decay:
                raise ValueError('paramwise_cfg.layer_decay needs a rate in (0, 1].')
            self._decay = LayerDecay(inner, minimum=decay.pop('min', None), beyond=1, **decay)
        return super().__call__(model)

    def parameter_options(self, rules: ParameterRules, name: str, module: nn.Module, model: nn.Module) -> dict:
        """The usual options, what the rules say, and the decay."""
        options = {**super().parameter_options(rules, name, module, model), **self._rules.options(name)}
        factor = None if self._decay is None else self._decay.factor(name)
        if factor is None:
            return options
        rate = options['lr'] if 'lr' in options else rules.scaled_lr(1.0, 'layer_decay')
        return {**options, 'lr': rate * factor}
