"""Which learning rate and weight decay a parameter gets (``paramwise_cfg``)."""
import difflib
from typing import Any

from mmengine.logging import print_log
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
#: parameters that are embeddings without being nn.Embedding, by the last part of their names
_TABLES = ('relative_position_bias_table', 'absolute_pos_embed')
_DECAY_BY_KIND = ('norm_decay_mult', 'embedding_decay_mult', 'bias_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult')
_DEFORMABLE = {'DeformConv2d', 'ModulatedDeformConv2d'}  # by name: mmcv's compiled operators may be missing


class ParameterRules:
    """The options of :class:`DefaultOptimWrapperConstructor`, applied to one parameter at a time.

    Args:
        paramwise_cfg: the options.
        optimizer_cfg: holds the base ``lr`` and ``weight_decay``.
        model: the model whose parameters are asked for.

    Raises:
        ValueError: a multiplier without its base value, or custom keys that are not a dict of dicts.
    """

    def __init__(self, paramwise_cfg: dict[str, Any], optimizer_cfg: dict[str, Any], model: nn.Module):
        self.config = paramwise_cfg
        self.base_lr, self.base_decay = optimizer_cfg.get('lr'), optimizer_cfg.get('weight_decay')
        self.custom = paramwise_cfg.get('custom_keys') or {}
        if not isinstance(self.custom, dict) or not all(isinstance(value, dict) for value in self.custom.values()):
            raise ValueError('paramwise_cfg.custom_keys must be a dict of dicts such as '
                             f'{{"backbone": dict(lr_mult=0.1)}}, got {self.custom!r}.')
        # longest first, then by alphabet
        self.keys = sorted(sorted(self.custom), key=len, reverse=True)
        self.unused = set(self.keys)
        self.offset_modules = {f'{name}.conv_offset' for name, module in model.named_modules(remove_duplicate=False)
                               if _DEFORMABLE & {kind.__name__ for kind in type(module).__mro__}}

    def options(self, name: str, module: nn.Module) -> dict[str, Any]:
        """Options of the parameter's group; empty where the optimizer's own settings apply."""
        for key in self.keys:
            if key in name:
                self.unused.discard(key)
                return self._custom_options(self.custom[key], name, module)
        return {**self._learning_rate(name, module), **self._weight_decay(self.config, name, module)}

    def _custom_options(self, custom: dict[str, Any], name: str, module: nn.Module) -> dict[str, Any]:
        multipliers = ('lr_mult', 'decay_mult', *_DECAY_BY_KIND)
        options = {key: value for key, value in custom.items() if key not in multipliers}
        if 'lr_mult' in custom:
            options.setdefault('lr', self.scaled_lr(custom['lr_mult'], 'custom_keys[...].lr_mult'))
        if 'decay_mult' in custom:
            options.setdefault('weight_decay', self._scaled_decay(custom['decay_mult'], 'custom_keys[...].decay_mult'))
        return {**options, **self._weight_decay(custom, name, module)}

    def _learning_rate(self, name: str, module: nn.Module) -> dict[str, float]:
        offset = name.rpartition('.')[0] in self.offset_modules
        if offset and 'dcn_offset_lr_mult' in self.config:
            return dict(lr=self.scaled_lr(self.config['dcn_offset_lr_mult'], 'dcn_offset_lr_mult'))
        plain_bias = name.endswith('bias') and not isinstance(module, _NORMS) and not offset
        if plain_bias and 'bias_lr_mult' in self.config:
            return dict(lr=self.scaled_lr(self.config['bias_lr_mult'], 'bias_lr_mult'))
        return {}

    def _weight_decay(self, config: dict[str, Any], name: str, module: nn.Module) -> dict[str, float]:
        """What the kind of the parameter asks for, by the multipliers of ``config``."""
        owner, _, last = name.rpartition('.')
        offset = owner in self.offset_modules
        parameter = getattr(module, last)
        depthwise = isinstance(module, nn.Conv2d) and module.in_channels == module.groups
        kinds = (isinstance(module, _NORMS), isinstance(module, nn.Embedding) or last in _TABLES,
                 name.endswith('bias') and not offset, depthwise, parameter.ndim == 1 and not offset)
        for option, applies in zip(_DECAY_BY_KIND, kinds):
            if applies and option in config:
                return dict(weight_decay=self._scaled_decay(config[option], option))
        return {}

    def scaled_lr(self, factor: float, option: str) -> float:
        """The base learning rate times ``factor``."""
        if self.base_lr is None:
            raise ValueError(f'paramwise_cfg.{option} multiplies optimizer.lr, which is not set.')
        return self.base_lr * factor

    def _scaled_decay(self, factor: float, option: str) -> float:
        if self.base_decay is None:
            raise ValueError(f'paramwise_cfg.{option} multiplies optimizer.weight_decay, which is not set.')
        return self.base_decay * factor

    def warn_of_unused_keys(self, names: list[str]) -> None:
        """Name the custom keys that no parameter's name contains, with near names."""
        for key in sorted(self.unused):
            parts = {'.'.join(name.split('.')[:depth]) for name in names for depth in range(1, name.count('.') + 2)}
            parts |= {part for name in names for part in name.split('.')}
            near = difflib.get_close_matches(key, parts, n=3, cutoff=0.5)
            hint = f'Near names: {", ".join(near)}.' if near else f'Names look like {names[0]}.'
            print_log(f'paramwise_cfg.custom_keys[{key!r}] matches no parameter and has no effect. {hint}', 'current',
                      level=30)
