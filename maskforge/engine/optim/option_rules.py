"""Settings of the optimizer by name pattern and by class of module (``paramwise_cfg.rules``)."""
import difflib
import inspect
import pydoc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log
from torch import nn

from maskforge.layers.name_patterns import name_matches

_KEYS = ('value', 'param_names', 'module_cls_names', 'name')


@dataclass(frozen=True)
class OptionRule:
    """One value of one option, and the parameters that get it; without names and classes it is for all others."""

    option: str
    value: Any
    param_names: tuple[str, ...] = ()
    module_cls_names: tuple[str, ...] = ()
    name: str | None = None

    @property
    def is_default(self) -> bool:
        """The rule is for the parameters that no other rule of its option matches."""
        return not (self.param_names or self.module_cls_names)

    def __str__(self) -> str:
        what = ', '.join((*self.param_names, *self.module_cls_names)) or 'all others'
        return f'{self.option}={self.value} ({what})'

    def matches(self, name: str, module: nn.Module) -> bool:
        """Whether the parameter ``name``, which ``module`` holds, gets the value."""
        return name_matches(name, self.param_names) or any(_is_a(module, cls) for cls in self.module_cls_names)


class OptionRules:
    """Decides every option of every trainable parameter, and checks that each decision is made once.

    Args:
        config: ``{option: [rule, ...]}``, a rule being ``dict(value=, param_names=, module_cls_names=, name=)``.
            A rule is for the parameters whose names fit a pattern of ``param_names`` (see :func:`name_matches`)
            and those that a module of a class of ``module_cls_names`` holds itself (``'torch.nn.LayerNorm'``, or a
            bare class name; subclasses too). A rule with neither is for all others.
        optimizer: class whose arguments the options are.
        optimizer_cfg: its settings are for the parameters that no rule matches.
        model: the model with the parameters.

    Raises:
        ValueError: an option that the optimizer does not have, a rule that is no such dict, two rules of an option
            for the same parameter, or a parameter without a value; parameters are named.
    """

    def __init__(self, config: Mapping[str, Sequence[Mapping[str, Any]]], *, optimizer: type,
                 optimizer_cfg: Mapping[str, Any], model: nn.Module):
        self.rules = {option: _parse(option, rules) for option, rules in config.items()}
        _check_options(self.rules, optimizer)
        self._given = set(optimizer_cfg)
        self._unused = {rule for rules in self.rules.values() for rule in rules if not rule.is_default}
        self._twice: dict[str, list[str]] = {}
        self._without: dict[str, list[str]] = {}
        self._options: dict[str, dict[str, Any]] = {}
        modules = dict(model.named_modules(remove_duplicate=False))
        for name, parameter in model.named_parameters(remove_duplicate=False):
            found = self._decide(name, modules[name.rpartition('.')[0]], parameter.requires_grad)
            self._options[name] = found
        self._raise_or_warn([name for name, _ in model.named_parameters()])

    def options(self, name: str) -> dict[str, Any]:
        """The options of a parameter; ``<option>_rule`` is the name of the rule, where it has one."""
        return dict(self._options[name])

    def _decide(self, name: str, module: nn.Module, trainable: bool) -> dict[str, Any]:
        decided: dict[str, Any] = {}
        for option, rules in self.rules.items():
            matching = [rule for rule in rules if not rule.is_default and rule.matches(name, module)]
            self._unused.difference_update(matching)
            default = [rule for rule in rules if rule.is_default]
            if len(matching) > 1 and trainable:
                self._twice.setdefault(' and '.join(map(str, matching)), []).append(name)
            chosen = next(iter(matching or default), None)
            if chosen is not None:
                decided[option] = chosen.value
                decided.update({f'{option}_rule': chosen.name} if chosen.name else {})
            elif option not in self._given and trainable:
                self._without.setdefault(option, []).append(name)
        return decided

    def _raise_or_warn(self, names: list[str]) -> None:
        for rules, members in self._twice.items():
            raise ValueError(f'paramwise_cfg.rules: {rules} are both for {_some(members)}. The rules of one option '
                             'must not overlap.')
        for option, members in self._without.items():
            raise ValueError(f'paramwise_cfg.rules.{option} says nothing about {_some(members)}. Set optimizer.{option}'
                             f', or add a rule without param_names and module_cls_names, which is for all others.')
        for rule in sorted(self._unused, key=str):
            parts = {part for name in names for part in name.split('.')}
            wanted = {part for pattern in rule.param_names for part in pattern.replace('*', '').split('.') if part}
            near = sorted({close for part in wanted for close in difflib.get_close_matches(part, parts, n=2)})
            hint = f'Near names: {", ".join(near)}.' if near else f'Names look like {names[0]}.'
            print_log(f'paramwise_cfg.rules: {rule} matches no parameter and has no effect. {hint}', 'current',
                      level=30)


def _parse(option: str, rules: Sequence[Mapping[str, Any]]) -> list[OptionRule]:
    example = "dict(value=3e-6, param_names=['image_encoder.*'])"
    if not isinstance(rules, (list, tuple)) or not all(isinstance(rule, Mapping) for rule in rules):
        raise ValueError(f'paramwise_cfg.rules.{option} must be a list of dicts such as [{example}], got {rules!r}.')
    parsed = []
    for rule in rules:
        for key in rule:
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, n=1)
                raise ValueError(f'paramwise_cfg.rules.{option}: a rule has no key {key!r}'
                                 + (f'; did you mean {near[0]}?' if near else f'; known: {", ".join(_KEYS)}.'))
        if rule.get('value') is None:
            raise ValueError(f'paramwise_cfg.rules.{option}: a rule needs a value, such as {example}; got {dict(rule)}')
        parsed.append(OptionRule(option, rule['value'], _names(rule, 'param_names'), _names(rule, 'module_cls_names'),
                                 rule.get('name')))
    if sum(rule.is_default for rule in parsed) > 1:
        raise ValueError(f'paramwise_cfg.rules.{option} has several rules without param_names and module_cls_names; '
                         'one can be for all others.')
    return parsed


def _names(rule: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = rule.get(key) or ()
    return (value,) if isinstance(value, str) else tuple(value)


def _check_options(rules: Mapping[str, list[OptionRule]], optimizer: type) -> None:
    known = [name for name in inspect.signature(optimizer).parameters if name not in ('params', 'self', 'args')]
    for option, several in rules.items():
        if option not in known and 'kwargs' not in known:
            near = difflib.get_close_matches(option, known, n=1)
            raise ValueError(f'paramwise_cfg.rules: {optimizer.__name__} has no option {option!r}'
                             + (f'; did you mean {near[0]}?' if near else f'; it has {", ".join(known)}.'))
        for name in {name for rule in several for name in rule.module_cls_names if '.' in name}:
            if not isinstance(pydoc.locate(name), type):
                raise ValueError(f'paramwise_cfg.rules.{option}: there is no class {name!r}; an example of one is '
                                 "'torch.nn.LayerNorm'.")


def _is_a(module: nn.Module, name: str) -> bool:
    if '.' in name:
        return isinstance(module, pydoc.locate(name))
    return any(cls.__name__ == name for cls in type(module).__mro__)


def _some(names: list[str]) -> str:
    return ', '.join(names[:4]) + (f' and {len(names) - 4} more' if len(names) > 4 else '')
