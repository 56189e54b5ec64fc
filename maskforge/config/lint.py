"""What loads and builds but will not do what its author meant."""
import ast
import math
from collections.abc import Iterator

from mmengine.config import Config as _Config

from .config_file import ConfigFile
from .explain import locate
from .finding import Finding
from .keys import FRAMEWORK_KEYS
from .lint_classes import class_counts

_TRIOS = {'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
          'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
          'test': ('test_dataloader', 'test_cfg', 'test_evaluator')}


def lint_config(cfg: _Config) -> list[Finding]:
    """Report schedules that never act, class counts that disagree, variables overridden in vain, halves of settings.

    ``check_keys`` reports keys and arguments that nothing reads; the two together are ``maskforge config --lint``.
    """
    checks = (_schedules, _val_interval, class_counts, _trios, _auto_scale_lr, _hooks, _dead_variables)
    return [finding for check in checks for finding in check(cfg)]


def _length(cfg: _Config) -> tuple[str, int | None]:
    """('epochs' | 'iterations', how many) of the training."""
    train = cfg.get('train_cfg') or {}
    if train.get('max_iters') is not None:
        return 'iterations', train['max_iters']
    return 'epochs', train.get('max_epochs')


def _schedules(cfg: _Config) -> Iterator[Finding]:
    schedulers = cfg.get('param_scheduler') or []
    if isinstance(schedulers, dict):  # either one scheduler or a dict of lists per optimizer
        groups = {'': [schedulers]} if 'type' in schedulers else schedulers
    else:
        groups = {'': schedulers}
    for group, items in groups.items():
        for index, item in enumerate([items] if isinstance(items, dict) else items):
            place = f'param_scheduler.{group}.{index}' if group else f'param_scheduler.{index}'
            yield from _schedule(cfg, item, place if not isinstance(cfg.param_scheduler, dict) or group
                                 else 'param_scheduler')


def _odd_number(item: dict) -> str | None:
    """A key of a schedule whose value is no number (for milestones: no list of numbers)."""
    for key in ('begin', 'end', 'T_max'):
        if item.get(key) is not None and not isinstance(item[key], (int, float)):
            return key
    milestones = item.get('milestones', ())
    fits = isinstance(milestones, (list, tuple)) and all(isinstance(value, (int, float)) for value in milestones)
    return None if fits else 'milestones'


def _schedule(cfg: _Config, item: dict, place: str) -> Iterator[Finding]:
    odd = _odd_number(item)
    if odd is not None:
        yield Finding('error', f'{place}.{odd}', f'a number is needed, not {item[odd]!r}')
        return
    unit, length = _length(cfg)
    by_epoch, begin, end = item.get('by_epoch', True), item.get('begin', 0), item.get('end')
    for milestone in item.get('milestones', ()):
        if end is not None and milestone >= end:
            yield Finding('error', f'{place}.milestones', f'milestone {milestone} is never reached: the scheduler ends '
                          f'at {end}; raise {place}.end')
    if end is not None and end <= begin:
        yield Finding('error', f'{place}.end', f'the scheduler ends at {end}, not after its begin {begin}')
    if length is None or by_epoch != (unit == 'epochs'):
        return
    for milestone in item.get('milestones', ()):
        if milestone >= length and (end is None or milestone < end):
            yield Finding('error', f'{place}.milestones', f'milestone {milestone} is never reached: training ends '
                          f'after {length} {unit}')
    if begin >= length:
        yield Finding('error', f'{place}.begin', f'begins at {begin}, after the {length} {unit} of training')
    horizon = item.get('T_max', None if end is None else end - begin)
    if item.get('type') in ('CosineAnnealingLR', 'PolyLR') and horizon is not None \
            and not math.isclose(horizon, length - begin):
        yield Finding('warning', place, f'{item["type"]} lasts {horizon} {unit} but training {length}: the learning '
                      'rate does not reach its end, or stays there')
    elif item.get('type') in ('MultiStepLR', 'StepLR') and end is not None and end < length:
        yield Finding('warning', f'{place}.end', f'the scheduler ends at {end}, training at {length}: the rate stays '
                      f'as it is from {end} on')


def _val_interval(cfg: _Config) -> Iterator[Finding]:
    unit, length = _length(cfg)
    interval = (cfg.get('train_cfg') or {}).get('val_interval')
    if length is not None and interval is not None and interval > length and cfg.get('val_cfg') is not None:
        yield Finding('warning', 'train_cfg.val_interval', f'{interval} is more than the {length} {unit} of training: '
                      'validation runs once, at the end')
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    every = checkpoint.get('interval', -1)
    if length is not None and every > length and checkpoint.get('by_epoch', True) == (unit == 'epochs'):
        yield Finding('warning', 'default_hooks.checkpoint.interval', f'{every} is more than the {length} {unit} of '
                      'training: only the last state is saved')


def _trios(cfg: _Config) -> Iterator[Finding]:
    for name, keys in _TRIOS.items():
        given = [key for key in keys if cfg.get(key) is not None]
        if name == 'train' and given == ['optim_wrapper']:
            continue
        if given and len(given) < len(keys):
            missing = [key for key in keys if key not in given]
            yield Finding('error', missing[0], f'{" and ".join(given)} given without {" and ".join(missing)}: the '
                          f'framework takes all of {", ".join(keys)} or none (set the others to None)')


def _auto_scale_lr(cfg: _Config) -> Iterator[Finding]:
    scale = cfg.get('auto_scale_lr')
    if scale and scale.get('enable') and not scale.get('base_batch_size'):
        yield Finding('error', 'auto_scale_lr.base_batch_size', 'auto_scale_lr.enable needs the batch size that the '
                      'learning rate belongs to: add auto_scale_lr=dict(enable=True, base_batch_size=16)')


def _hooks(cfg: _Config) -> Iterator[Finding]:
    """Hooks that wait for a metric which no validation computes."""
    if cfg.get('val_cfg') is not None:
        return
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('save_best'):
        yield Finding('error', 'default_hooks.checkpoint.save_best', 'there is no validation to be best at; remove '
                      'save_best or give val_dataloader, val_cfg and val_evaluator')
    for index, hook in enumerate(cfg.get('custom_hooks') or ()):
        if isinstance(hook, dict) and hook.get('type') == 'EarlyStoppingHook':
            yield Finding('error', f'custom_hooks.{index}', 'EarlyStoppingHook waits for a metric, but there is no '
                          'validation')


def _dead_variables(cfg: _Config) -> Iterator[Finding]:
    """A base's helper variable set again in a child: the base has used its own value already."""
    origin: ConfigFile | None = getattr(cfg, 'origin', None)
    if origin is None:
        return
    chain = origin.chain()
    for position, child in enumerate(chain):
        below = child.chain()[:-1]
        later = chain[position:]
        for name in child.values:
            if name in FRAMEWORK_KEYS or any(name in file.reads for file in later):
                continue
            base = next((file for file in reversed(below) if name in file.values and name in file.reads), None)
            if base is not None:
                line, _ = locate(child.tree, [name])
                yield Finding('warning', name, _used_already(base, name), f'{child.path}:{line}')
    for key in getattr(cfg, 'option_keys', {}):
        name = key.split('.')[0]
        base = next((file for file in reversed(chain) if name in file.reads and name in file.values), None)
        if name not in FRAMEWORK_KEYS and base is not None:
            yield Finding('warning', key, _used_already(base, name), 'command line')


def _used_already(base: ConfigFile, name: str) -> str:
    users = list(dict.fromkeys(_users(base.tree, name)))
    advice = f'; set {" and ".join(users[:3])} instead' if users else ''
    return f'setting this variable has no effect: {base.path.name} has used its own value already{advice}'


def _users(tree: ast.Module, name: str) -> Iterator[str]:
    """Dotted keys of ``tree`` whose values are made from the variable ``name``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield from _users_in(node.value, name, node.targets[0].id)


def _users_in(node: ast.expr, name: str, path: str) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        for keyword in node.keywords:
            yield from _users_in(keyword.value, name, f'{path}.{keyword.arg}')
    elif isinstance(node, (ast.List, ast.Tuple)):
        for index, item in enumerate(node.elts):
            yield from _users_in(item, name, f'{path}.{index}')
    elif any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node)):
        yield path
