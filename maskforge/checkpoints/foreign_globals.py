"""Which pickled classes of old checkpoints are read, and as what.

Files of MMEngine 0.x carry ``HistoryBuffer`` objects, NumPy arrays and bound methods beside the weights. PyTorch's
restricted unpickler refuses them, and allowing the real ones would allow ``getattr`` to a stranger. Here such names
resolve to inert stand-ins that only store what the file gives them; every other name is refused.
"""
from typing import Any

import numpy as np

# classes of these packages carry bookkeeping (logs, configs, meta data), never weights
_BOOKKEEPING = ('mmengine.', 'mmcv.', 'mmdet.', 'mmcls.', 'mmpretrain.', 'mmseg.', 'addict.', 'omegaconf.')
_SINGLE_NAMES = {'builtins.getattr', '__builtin__.getattr', 'argparse.Namespace', 'pathlib.PosixPath',
                 'pathlib.WindowsPath', 'pathlib.PurePosixPath', 'typing.Any', 'collections.defaultdict',
                 'builtins.list', 'builtins.dict', 'builtins.int', 'builtins.float', 'builtins.str'}
_NUMPY_FUNCTIONS = ('_reconstruct', 'scalar')


class StandIn:
    """Takes the place of a pickled object whose class is not to be run; keeps its state as attributes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {'state': state})


class StandInDict(dict):
    """A :class:`StandIn` for subclasses of dict (configs): the items stay readable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """In place of a function that a pickle wants to call."""


def stand_in(name: str) -> Any | None:
    """Return the harmless object that ``name`` (dotted, from a pickle) may resolve to; None where it is refused."""
    if name.startswith('numpy'):
        return _numpy_object(name)
    if name in _SINGLE_NAMES:
        return _nothing if name.endswith('getattr') or name.startswith('builtins.') else _own_class(name, StandIn)
    if name.startswith(_BOOKKEEPING):
        is_dict = name.rsplit('.', 1)[-1] in ('ConfigDict', 'Dict', 'DictConfig')
        return _own_class(name, StandInDict if is_dict else StandIn)
    return None


def _own_class(name: str, base: type) -> type:
    return type(name.rsplit('.', 1)[-1], (base,), {'original': name})


def _numpy_object(name: str) -> Any | None:
    """NumPy's own objects that rebuild arrays and scalars: they run nothing and import nothing."""
    function = name.rsplit('.', 1)[-1]
    if name in (f'numpy.core.multiarray.{function}', f'numpy._core.multiarray.{function}'):
        core = np._core if hasattr(np, '_core') else np.core
        return getattr(core.multiarray, function) if function in _NUMPY_FUNCTIONS else None
    if name in ('numpy.ndarray', 'numpy.dtype'):
        return getattr(np, function)
    return dict(map(reversed, dtype_classes())).get(name)


def dtype_classes() -> list[tuple[type, str]]:
    """(class, its dotted name) of NumPy's dtypes: the unpickler meets them as the types of ``numpy.dtype`` objects."""
    kinds = '?bhilqBHILQefdFDSUO'
    classes = {type(np.dtype(kind)) for kind in kinds}
    return [(cls, f'{cls.__module__}.{cls.__qualname__}') for cls in classes]
