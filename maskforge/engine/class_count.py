"""The heads' class counts against the data set's classes, before a long run starts or fails deep inside."""
from collections.abc import Mapping
from typing import Any

from torch import nn


def check_class_count(model: nn.Module, metainfo: Mapping[str, Any] | None, source: str) -> None:
    """Compare every head's ``num_classes`` with the data set.

    A head is a module with an int ``num_classes`` whose name contains 'head' (not of a region proposal network, whose
    one class is foreign to the data), or the model itself. A data set whose labels are original category ids says
    how many rows they need in ``metainfo['num_classes']``.

    Args:
        source: config key of the data set, e.g. 'train_dataloader.dataset'.

    Raises:
        ValueError: they differ, or ``classes`` is a single string.
    """
    classes = (metainfo or {}).get('classes')
    if classes is None:
        return
    if isinstance(classes, str):
        raise ValueError(f"{source}.metainfo.classes is the text '{classes}': for one class write "
                         f"('{classes}', ) with a comma.")
    expected = metainfo.get('num_classes', len(classes))
    wrong = [(name, module.num_classes) for name, module in model.named_modules()
             if _is_head(name, module) and module.num_classes != expected]
    if wrong:
        listed = ', '.join(f'{_key(name)}={count}' for name, count in wrong)
        names = ', '.join(map(str, list(classes)[:5])) + (', ...' if len(classes) > 5 else '')
        raise ValueError(f'class counts disagree: {listed}, but {source} has {expected} classes ({names}). Set '
                         f'{" and ".join(_key(name) for name, _ in wrong)} to {expected}, or correct '
                         f'{source}.metainfo.classes.')


def _is_head(name: str, module: nn.Module) -> bool:
    if isinstance(getattr(module, 'num_classes', None), bool) or not isinstance(
            getattr(module, 'num_classes', None), int):
        return False
    parts = name.split('.')
    if any('rpn' in part or 'loss' in part for part in parts):
        return False
    return not name or any('head' in part for part in parts)


def _key(name: str) -> str:
    return f'model.{name}.num_classes' if name else 'model.num_classes'
