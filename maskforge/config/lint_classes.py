"""Whether heads, data sets and metrics agree on the classes."""
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config as _Config

from .finding import Finding

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def class_counts(cfg: _Config) -> Iterator[Finding]:
    """Compare ``num_classes`` of all heads with each other and with the classes written in the config.

    Classes that come from the annotation file are compared when the runner starts.
    """
    heads = dict(_heads(cfg.get('model'), 'model'))
    counts = sorted(set(heads.values()))
    if len(counts) > 1:
        text = ', '.join(f'{key}={count}' for key, count in heads.items())
        yield Finding('error', next(iter(heads)), f'the heads disagree on the number of classes: {text}')
    classes = {f'{loader}.{path}': names for loader in _LOADERS
               for path, names in _classes((cfg.get(loader) or {}).get('dataset'), 'dataset')}
    yield from _same_classes(classes)
    for key, names in classes.items():
        for head, count in heads.items():
            if count != len(names):
                yield Finding('error', head, f'{count} classes, but {key} lists {len(names)}: {_some(names)}')


def _heads(node: Any, path: str) -> Iterator[tuple[str, int]]:
    """``num_classes`` of every dict in the model; an RPN has one class of its own and is left out."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _heads(item, f'{path}.{index}')
    if not isinstance(node, dict) or str(node.get('type', '')).endswith('RPNHead'):
        return
    for key, value in node.items():
        if key == 'num_classes' and isinstance(value, int):
            yield f'{path}.num_classes', value
        else:
            yield from _heads(value, f'{path}.{key}')


def _classes(node: Any, path: str) -> Iterator[tuple[str, tuple]]:
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _classes(item, f'{path}.{index}')
    if not isinstance(node, dict):
        return
    for key in ('dataset', 'datasets'):
        yield from _classes(node.get(key), f'{path}.{key}')
    names = (node.get('metainfo') or {}).get('classes') if isinstance(node.get('metainfo'), dict) else None
    if isinstance(names, str):
        names = (names,)
    if isinstance(names, (list, tuple)):
        yield f'{path}.metainfo.classes', tuple(names)


def _same_classes(classes: dict[str, tuple]) -> Iterator[Finding]:
    first = next(iter(classes), None)
    for key, names in classes.items():
        if names != classes[first]:
            yield Finding('error', key, f'{_some(names)} differs from {first}: {_some(classes[first])}; labels would '
                          'mean different classes')
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            yield Finding('error', key, f"class '{twice}' is listed twice")


def _some(names: tuple) -> str:
    head = ', '.join(str(name) for name in names[:4])
    return f'({head}{", ..." if len(names) > 4 else ""})'
