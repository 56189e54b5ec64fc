"""Keys that nothing reads, arguments that a class does not take, arguments that are missing."""
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config as _Config

from maskforge import registry as registries
from maskforge.registry import Registry

from .finding import Finding, did_you_mean
from .keys import DEFAULT_HOOKS, FRAMEWORK_KEYS, PLAIN_DICTS
from .signatures import signature_of

# arguments that the builder supplies, by registry
_SUPPLIED = {
    'LOOPS': {'runner', 'dataloader', 'evaluator'}, 'OPTIMIZERS': {'params'}, 'PARAM_SCHEDULERS': {'optimizer'},
    'DATA_SAMPLERS': {'dataset', 'sampler', 'batch_size'}, 'OPTIM_WRAPPERS': {'optimizer'},
    'VISBACKENDS': {'save_dir'}, 'MODELS': {'train_cfg', 'test_cfg', 'data_preprocessor', 'module'},
    'EVALUATOR': {'metrics'}, 'TASK_UTILS': {'context'},
}
# keys beside the class's own arguments, by registry
_EXTRA = {
    'HOOKS': {'priority'}, 'LOOPS': {'by_epoch'}, 'PARAM_SCHEDULERS': {'convert_to_iter_based'},
    'OPTIM_WRAPPERS': {'constructor', 'paramwise_cfg', 'optimizer'},
}
# keys that every model's dict may hold: the runner and build_model see to them
_EVERY_MODEL = {'freeze', 'lora'}
_TASK_ARGUMENTS = {'anchor_generator', 'prior_generator', 'point_generator', 'bbox_coder', 'assigner', 'sampler',
                   'iou_calculator', 'match_costs'}
# dicts with a type that no registry of ours builds
_OPAQUE = {'norm_cfg', 'conv_cfg', 'act_cfg', 'upsample_cfg', 'nms', 'roi_layer', 'metainfo', 'filter_cfg', 'tta_cfg',
           'backend_args', 'data_prefix', 'init_kwargs', 'dist_cfg', 'plugins', 'dcn', 'clip_grad'}
_NEIGHBOURS = {'MODELS': ('TASK_UTILS',), 'TASK_UTILS': ('MODELS',), 'METRICS': ('EVALUATOR',)}
_RUNNER_ARGUMENTS = {
    'model': 'MODELS', 'data_preprocessor': 'MODELS', 'tta_model': 'MODELS', 'val_evaluator': 'METRICS',
    'test_evaluator': 'METRICS', 'param_scheduler': 'PARAM_SCHEDULERS', 'custom_hooks': 'HOOKS',
    'visualizer': 'VISUALIZERS', 'log_processor': 'LOG_PROCESSORS', 'export_cfg': 'LOOPS', 'tta_pipeline': 'TRANSFORMS',
    'model_wrapper_cfg': 'MODEL_WRAPPERS', 'strategy': 'STRATEGIES',
}


def check_keys(cfg: _Config) -> list[Finding]:
    """Report every key that nothing reads and every argument that does not fit its class.

    Classes are looked up in the registries, so modules of ``custom_imports`` must have been imported
    (``load_config`` does). Dicts of classes that take ``**kwargs`` to unknown places are not judged.
    """
    found = [*_top_level(cfg), *_plain_dicts(cfg)]
    for key, name in _RUNNER_ARGUMENTS.items():
        found += _typed(cfg.get(key), key, name)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        found += _dataloader(cfg.get(key), key)
    for key, kind in (('train_cfg', _train_loop(cfg)), ('val_cfg', 'ValLoop'), ('test_cfg', 'TestLoop')):
        found += _typed(_with_type(cfg.get(key), kind), key, 'LOOPS')
    found += _optim_wrapper(cfg.get('optim_wrapper'))
    found += _default_hooks(cfg.get('default_hooks'))
    return list(dict.fromkeys(found))


def _top_level(cfg: _Config) -> Iterator[Finding]:
    origin = getattr(cfg, 'origin', None)
    files = origin.chain() if origin is not None else []
    read = {name for file in files for name in file.reads}
    for key in cfg:
        if key in FRAMEWORK_KEYS or key in read:
            continue
        hint = did_you_mean(key, FRAMEWORK_KEYS)
        # a user's own module may read it from the runner's config, unless it looks like a slip
        level = 'warning' if cfg.get('custom_imports') and not hint else 'error'
        where = next((str(file.path) for file in reversed(files) if key in file.values), '')
        yield Finding(level, key, f'nothing reads this key.{hint or " Remove it, or use it in the config."}', where)


def _plain_dicts(cfg: _Config) -> Iterator[Finding]:
    for path, known in PLAIN_DICTS.items():
        node: Any = cfg
        for part in path.split('.'):
            node = node.get(part) if hasattr(node, 'get') else None
        if not isinstance(node, dict):
            continue
        for key in node:
            if key not in known:
                hint = did_you_mean(key, known) or f' It may hold: {", ".join(sorted(known))}'
                yield Finding('error', f'{path}.{key}', f'nothing reads this key.{hint}')


def _train_loop(cfg: _Config) -> str:
    train = cfg.get('train_cfg')
    by_epoch = train.get('by_epoch', 'max_iters' not in train) if isinstance(train, dict) else True
    return 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'


def _with_type(node: Any, kind: str) -> Any:
    return {'type': kind, **node} if isinstance(node, dict) else node


def _optim_wrapper(node: Any) -> Iterator[Finding]:
    if not isinstance(node, dict):
        return
    yield from _typed(_with_type({key: value for key, value in node.items() if key != 'optimizer'}, 'OptimWrapper'),
                      'optim_wrapper', 'OPTIM_WRAPPERS')
    if 'constructor' not in node or 'type' in (node.get('optimizer') or {}):
        yield from _typed(node.get('optimizer'), 'optim_wrapper.optimizer', 'OPTIMIZERS')


def _default_hooks(node: Any) -> Iterator[Finding]:
    for name, hook in (node or {}).items():
        if isinstance(hook, dict) and 'type' not in hook:
            hint = did_you_mean(name, DEFAULT_HOOKS) or ' Give it a type.'
            yield Finding('error', f'default_hooks.{name}', f'there is no default hook of this name.{hint}')
        else:
            yield from _typed(hook, f'default_hooks.{name}', 'HOOKS')


def _dataloader(node: Any, path: str) -> Iterator[Finding]:
    if not isinstance(node, dict):
        return
    from torch.utils.data import DataLoader  # a slow import that `--help` and parsing do not need
    known = signature_of(DataLoader).names | {'num_batch_per_epoch'}
    for key in node:
        if key not in known and key != '_scope_':
            yield Finding('error', f'{path}.{key}', f'a data loader has no such argument.{did_you_mean(key, known)}')
    for key in ('dataset', 'batch_size', 'sampler'):
        if key not in node and not (key in ('batch_size', 'sampler') and node.get('batch_sampler')):
            yield Finding('error', path, f"'{key}' is missing{_example(key)}")
    yield from _typed(node.get('dataset'), f'{path}.dataset', 'DATASETS')
    yield from _typed(node.get('sampler'), f'{path}.sampler', 'DATA_SAMPLERS')
    yield from _typed(node.get('batch_sampler'), f'{path}.batch_sampler', 'DATA_SAMPLERS')


def _example(key: str) -> str:
    return ": add sampler=dict(type='DefaultSampler', shuffle=True)" if key == 'sampler' else ''


def _typed(node: Any, path: str, name: str) -> Iterator[Finding]:
    """Check a dict with ``type``, or each in a list, against the registry called ``name``, and what it holds."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _typed(item, f'{path}.{index}', name)
        return
    if not isinstance(node, dict) or node.get('_scope_', registries.SCOPE) != registries.SCOPE:
        return
    if 'type' in node:
        yield from _arguments(node, path, name)
    for key, value in node.items():
        if key not in _OPAQUE and isinstance(value, (dict, list, tuple)):
            yield from _typed(value, f'{path}.{key}', _registry_for(key, name))


def _registry_for(key: str, name: str) -> str:
    if key in ('pipeline', 'transforms', 'switch_pipeline'):
        return 'TRANSFORMS'
    if key == 'init_cfg':
        return 'WEIGHT_INITIALIZERS'
    if key == 'vis_backends':
        return 'VISBACKENDS'
    if key == 'sampler' and name == 'DATASETS':  # of clips
        return 'DATA_SAMPLERS'
    if key in _TASK_ARGUMENTS and name in ('MODELS', 'TASK_UTILS'):
        return 'TASK_UTILS'
    return name


def _arguments(node: dict, path: str, name: str) -> Iterator[Finding]:
    target, problem = _look_up(node['type'], name)
    if target is None:
        if problem:
            yield Finding('error', f'{path}.type', problem)
        return
    if not callable(target):
        yield Finding('error', f'{path}.type', f'a class or its name is needed, not {target!r}')
        return
    signature = signature_of(target)
    label = node['type'] if isinstance(node['type'], str) else node['type'].__name__
    known = signature.names | _EXTRA.get(name, set()) | (_EVERY_MODEL if path == 'model' else set())
    for key in node:
        if key in known or key in ('type', '_scope_') or signature.is_open:
            continue
        hint = did_you_mean(key, known) or f' It takes: {", ".join(sorted(known))}'
        yield Finding('error', f'{path}.{key}', f'{label} has no such argument.{hint}')
    missing = sorted(signature.required - set(node) - _SUPPLIED.get(name, set()))
    if missing:
        yield Finding('error', path, f'{label} needs {", ".join(missing)}')


def _look_up(kind: Any, name: str) -> tuple[Any, str]:
    """The class of a ``type``, or why there is none; a hit in a neighbouring registry counts."""
    if not isinstance(kind, str):
        return kind, ''
    first: Registry = getattr(registries, name)
    try:
        return first.get(kind), ''
    except KeyError as error:
        problem = str(error.args[0])
    for other in _NEIGHBOURS.get(name, ()):
        if kind in getattr(registries, other):
            return getattr(registries, other).get(kind), ''
    return None, problem
