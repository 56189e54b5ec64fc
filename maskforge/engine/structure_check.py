"""Whether a stored state has the form of the one that it is to replace; before any of it is used."""
from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np
from torch import Tensor


def check_structure(stored: Any, own: Any, *, where: str, optional: bool = True) -> None:
    """Compare the kinds of values (number, text, tensor, list, dict) under the names that both have.

    Args:
        stored: from a checkpoint.
        own: the present state of what is to be restored. None fits everything.
        where: file and key, for the message.
        optional: names of ``own`` may be missing in ``stored``.

    Raises:
        ValueError: the kinds differ, or a name is missing; the message says where.
    """
    if own is None or (stored is None and not isinstance(own, (Mapping, Tensor, Number))):
        return
    if _kind(stored) != _kind(own):
        raise ValueError(f'{where} is {_shown(stored)}, but {_kind(own)} belongs there. {REMEDY}')
    if isinstance(own, Mapping):
        for name, value in own.items():
            if name in stored:
                check_structure(stored[name], value, where=f'{where}.{name}', optional=optional)
            elif not optional:
                raise ValueError(f"{where} has no '{name}'. {REMEDY}")
    elif isinstance(own, (list, tuple)) and len(stored) == len(own):
        for place, pair in enumerate(zip(stored, own)):
            check_structure(*pair, where=f'{where}.{place}', optional=optional)


REMEDY = 'The file is damaged or was changed: continue from an earlier checkpoint, or start from its weights ' \
         '(--load-from).'


def _kind(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim:
        return 'a tensor'
    if isinstance(value, (Number, np.generic, Tensor, np.ndarray)):  # tensors without a shape stand for numbers
        return 'a number'
    if isinstance(value, Mapping):
        return 'a dict'
    if isinstance(value, (list, tuple)):
        return 'a list'
    return 'a text' if isinstance(value, (str, bytes)) else f'a {type(value).__name__}'


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 and '\n' not in text else _kind(value)
