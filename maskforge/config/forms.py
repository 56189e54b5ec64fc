"""What kinds of values the framework's own keys hold; checked before anything reads them."""
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

_DICTS = (
    'model', 'data_preprocessor', 'tta_model', '*_dataloader', '*_dataloader.dataset', '*_dataloader.sampler',
    '*_dataloader.batch_sampler', 'optim_wrapper', 'optim_wrapper.optimizer', 'default_hooks', 'default_hooks.*',
    'env_cfg', 'env_cfg.*_cfg', 'randomness', 'auto_scale_lr', 'train_cfg', 'val_cfg', 'test_cfg', 'visualizer',
    'log_processor', 'export_cfg', 'label_cfg', 'model_wrapper_cfg', 'custom_imports')
_NUMBERS = (
    '*_dataloader.batch_size', '*_dataloader.num_workers', 'train_cfg.max_epochs', 'train_cfg.max_iters',
    'train_cfg.val_interval', 'train_cfg.val_begin', 'default_hooks.*.interval', 'auto_scale_lr.base_batch_size',
    'optim_wrapper.accumulative_counts')
_DICTS_OR_LISTS = ('custom_hooks', 'param_scheduler', '*_evaluator', 'tta_pipeline')
_LISTS = ('custom_hooks',)
_DICTS_OR_TEXTS = ('strategy',)
_TEXTS = ('work_dir', 'load_from', 'default_scope', 'log_level', 'launcher', 'experiment_name', 'runner_type')


def wrong_forms(values: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on keys that hold a value of a kind that cannot work; None and objects always pass."""
    for key, value in _nodes(values):
        need = _need(key)
        if need is not None and not _fits(value, need):
            yield f'{key} is {value!r:.60}; {" or ".join(need)} is needed'
        elif need is not None and 'a list of dicts' in need and isinstance(value, (list, tuple)):
            odd = [item for item in value if not isinstance(item, Mapping) and _kind(item) is not None]
            if odd:
                yield f'{key} holds {odd[0]!r:.60}; a list of dicts is needed'


def _nodes(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The top level and what lies two levels below, by dotted key."""
    for key, value in values.items():
        yield str(key), value
        for inner, item in value.items() if isinstance(value, Mapping) else ():
            yield f'{key}.{inner}', item
            for last, leaf in item.items() if isinstance(item, Mapping) else ():
                yield f'{key}.{inner}.{last}', leaf


def _need(key: str) -> tuple[str, ...] | None:
    for patterns, need in ((_LISTS, ('a list of dicts',)), (_DICTS_OR_LISTS, ('a dict', 'a list of dicts')),
                           (_NUMBERS, ('a number',)), (_TEXTS, ('a text',)), (_DICTS_OR_TEXTS, ('a dict', 'a text')),
                           (_DICTS, ('a dict',))):
        if any(fnmatchcase(key, pattern) and key.count('.') == pattern.count('.') for pattern in patterns):
            return need
    return None


def _fits(value: Any, need: tuple[str, ...]) -> bool:
    kind = _kind(value)
    return kind is None or kind in need


def _kind(value: Any) -> str | None:
    """None for what is not plain data (and for None)."""
    if isinstance(value, Mapping):
        return 'a dict'
    if isinstance(value, (list, tuple)):
        return 'a list of dicts'
    if isinstance(value, bool):
        return 'a truth value'
    if isinstance(value, (int, float)):
        return 'a number'
    return 'a text' if isinstance(value, str) else None
