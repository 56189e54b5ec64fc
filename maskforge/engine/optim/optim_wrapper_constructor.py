"""From ``optim_wrapper`` of a config to an optimizer with parameter groups."""
import difflib
from typing import Any

from mmengine.logging import print_log
from torch import nn

from maskforge.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

from .optimizer_class import optimizer_class
from .parameter_rules import ParameterRules

OPTIONS = ('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'embedding_decay_mult',
           'flat_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate', 'verbose')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DefaultOptimWrapperConstructor:
    """Builds the optimizer and its wrapper; parameters with equal settings share a group.

    Args:
        optim_wrapper_cfg: ``dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, ...), ...)``.
        paramwise_cfg: settings by parameter:
            custom_keys: ``{part of a name: dict(lr_mult=, decay_mult=, any option of the optimizer)}``; the longest
                key that a name contains rules alone, no other option of this list applies then. Beside ``decay_mult``
                it may hold the multipliers of this list that begin with a kind (``norm_decay_mult=0.``).
            bias_lr_mult, bias_decay_mult: for biases, except those of norm layers and of DCN offsets.
            norm_decay_mult: for norm layers.
            embedding_decay_mult: for ``nn.Embedding`` and tables of positions (``relative_position_bias_table``,
                ``absolute_pos_embed``).
            dwconv_decay_mult: for depth-wise convolutions.
            flat_decay_mult: for all other parameters with one axis.
            dcn_offset_lr_mult: for the offset convolution in deformable convolutions.
            bypass_duplicate: a parameter that two modules share takes the settings of the first, even if the second
                would have others (an error otherwise).
            verbose: log every group with its learning rate, weight decay and parameters.

    Raises:
        KeyError: unknown optimizer.
        ValueError: unknown option; a multiplier without the base value that it multiplies.
    """

    options = OPTIONS

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None):
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        self.paramwise_cfg = dict(paramwise_cfg or {})
        if 'optimizer' not in self.optim_wrapper_cfg:
            raise ValueError("optim_wrapper has no optimizer; for example optim_wrapper=dict(type='OptimWrapper', "
                             "optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4)).")
        self.optimizer_cfg = dict(self.optim_wrapper_cfg.pop('optimizer'))
        for option in self.paramwise_cfg:
            if option not in self.options:
                near = difflib.get_close_matches(option, self.options, n=1)
                raise ValueError(f'optim_wrapper.paramwise_cfg.{option} is unknown'
                                 + (f'; did you mean {near[0]}?' if near else f'; known: {", ".join(self.options)}.'))

    def __call__(self, model: nn.Module):
        """Build the wrapper for the model (which may be wrapped for distributed training)."""
        model = getattr(model, 'module', model)
        config = dict(self.optimizer_cfg)
        config['type'] = optimizer_class(config.get('type'))
        config['params'] = self._groups(model) if self.paramwise_cfg else list(model.parameters())
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError('No parameter of the model requires a gradient: everything is frozen, or it has none.')
        wrapper = {'type': 'OptimWrapper', **self.optim_wrapper_cfg}
        built = OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=OPTIMIZERS.build(config)))
        built.unused_get_zeros = getattr(model, 'unused_get_zeros', False)
        return built

    def parameter_options(self, rules: ParameterRules, name: str, module: nn.Module, model: nn.Module) -> dict:
        """Options of the group that the parameter ``name`` of ``module`` goes to; subclasses add their rules here."""
        return rules.options(name, module)

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        rules = ParameterRules(self.paramwise_cfg, self.optimizer_cfg, model)
        groups: dict[str, dict[str, Any]] = {}
        names: dict[str, list[str]] = {}
        owners: dict[int, tuple[str, str]] = {}
        modules = dict(model.named_modules(remove_duplicate=False))
        for name, parameter in model.named_parameters(remove_duplicate=False):
            options = self.parameter_options(rules, name, modules[name.rpartition('.')[0]], model)
            key = repr(sorted(options.items()))
            if id(parameter) in owners:
                self._check_shared(name, key, *owners[id(parameter)])
            elif parameter.requires_grad:
                owners[id(parameter)] = name, key
                groups.setdefault(key, dict(params=[], **options))['params'].append(parameter)
                names.setdefault(key, []).append(name)
        rules.warn_of_unused_keys([name for name, _ in model.named_parameters()])
        if self.paramwise_cfg.get('verbose', False):
            self._log_groups(groups, names)
        return list(groups.values())

    def _check_shared(self, name: str, key: str, first: str, first_key: str) -> None:
        if key != first_key and not self.paramwise_cfg.get('bypass_duplicate', False):
            raise ValueError(f'{first} and {name} are the same parameter, but paramwise_cfg gives them different '
                             'settings; paramwise_cfg.bypass_duplicate=True takes those of the first.')

    def _log_groups(self, groups: dict[str, dict[str, Any]], names: dict[str, list[str]]) -> None:
        base = self.optimizer_cfg.get('lr')
        lines = []
        for key, group in groups.items():
            rate = group.get('lr', base)
            scale = f' (x {rate / base:g})' if base else ''
            others = ''.join(f', {option}={value}' for option, value in group.items() if option not in ('params', 'lr'))
            lines.append(f'  lr={rate:g}{scale}{others}: {len(names[key])} parameters: {", ".join(names[key])}')
        print_log('Parameter groups:\n' + '\n'.join(lines), 'current')
