"""Checkpoints in parts: a folder into which each process writes the tensors that it holds.

    iter_1000/
        part_0_of_2.pth   {key: this process's piece of a tensor}
        part_1_of_2.pth
        index.pth         the checkpoint, with an entry {'sharded': key, 'dim': d} in the place of each such tensor

The pieces of a tensor in the order of the parts, joined along ``dim``, are the tensor. All files are checkpoint files
of their own: written atomically, with checksums, encrypted where a key is set, read without running anything. (The
folders of torch.distributed.checkpoint have none of this: their index is a pickle.)
"""
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine import dist
from torch import Tensor

from .checkpoint_file import is_whole, load_checkpoint, save_checkpoint

INDEX = 'index.pth'
FORMAT = 'maskforge sharded checkpoint 1'
_PART = re.compile(r'^part_(\d+)_of_(\d+)\.pth$')
#: entries of a whole checkpoint whose tensors are divided
_DIVIDED = ('state_dict', 'ema_state_dict', 'optimizer')


def is_sharded_checkpoint(path: str | os.PathLike) -> bool:
    """Whether the path is the folder of a checkpoint in parts (complete or not)."""
    path = Path(path)
    return path.is_dir() and ((path / INDEX).is_file() or any(_PART.match(entry.name) for entry in path.iterdir()))


def is_whole_folder(path: str | os.PathLike) -> bool:
    """Whether index and all parts are there and have their checksums."""
    path = Path(path)
    if not is_whole(path / INDEX):
        return False
    return all(is_whole(path / name) for name in load_checkpoint(path / INDEX)['parts'])


def take_apart(value: Any, piece: Callable[[Any], tuple[Tensor, int] | None], pieces: dict[str, Tensor],
               path: str = '') -> Any:
    """Return ``value`` with an entry for the index in the place of each tensor that is sharded.

    Args:
        value: a checkpoint.
        piece: gives this process's piece of a value and the dimension that is divided; None for whole values.
        pieces: is filled with the pieces by key.
        path: key of ``value``.
    """
    found = piece(value)
    if found is not None:
        pieces[path] = found[0]
        return dict(sharded=path, dim=found[1])
    if isinstance(value, Mapping):
        return {key: take_apart(item, piece, pieces, f'{path}/{key}' if path else str(key))
                for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(take_apart(item, piece, pieces, f'{path}/{number}') for number, item in enumerate(value))
    return value


def save_sharded(index: dict[str, Any], pieces: dict[str, Tensor], folder: str | os.PathLike) -> Path:
    """Write a checkpoint in parts; the folder appears when it is complete. All processes must call this.

    Args:
        index: what :func:`take_apart` returned, plain; rank 0's is written.
        pieces: this process's tensors.
        folder: on a file system that all machines of the run share.

    Raises:
        OSError: a process could not write; the message names the first, all processes raise it.
        ValueError: ``folder`` is no local path.
    """
    if '://' in str(folder):
        raise ValueError(f"checkpoints in parts need a folder that all machines share, got {folder}; write whole ones "
                         "with strategy=dict(type='FSDP2Strategy', checkpoint='full').")
    folder = Path(folder)
    temporary = folder.with_name(f'.{folder.name}.parts')
    rank, world_size = dist.get_rank(), dist.get_world_size()
    if rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
    dist.barrier()
    _together(lambda: save_checkpoint(pieces, temporary / f'part_{rank}_of_{world_size}.pth'))
    _together(lambda: _finish(index, temporary, folder, world_size) if rank == 0 else None)
    return folder


def _together(action: Callable[[], Any]) -> None:
    """Act; if a process fails, all do."""
    problem: Exception | None = None
    try:
        action()
    except (OSError, RuntimeError) as error:
        problem = error
    told = dist.all_gather_object(None if problem is None else f'process {dist.get_rank()}: {problem}')
    first = next((text for text in told if text is not None), None)
    if first is not None:
        raise OSError(first) from problem


def _finish(index: dict[str, Any], temporary: Path, folder: Path, parts: int) -> None:
    names = [f'part_{rank}_of_{parts}.pth' for rank in range(parts)]
    missing = [name for name in names if not (temporary / name).is_file()]
    if missing:
        raise OSError(f'{missing[0]} is not in {temporary}: the machines of the run share no file system there; use '
                      "strategy.checkpoint='full'")
    save_checkpoint(dict(format=FORMAT, parts=names, checkpoint=index), temporary / INDEX)
    if folder.is_dir():
        shutil.rmtree(folder)
    os.replace(temporary, folder)


def load_sharded(folder: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint in parts as one, with whole tensors; any process may call this by itself.

    Raises:
        FileNotFoundError: another folder.
        ValueError: a file is missing or torn; the message names it.
    """
    folder = Path(folder)
    if not is_sharded_checkpoint(folder):
        found = sorted(path.name for path in folder.iterdir())[:8]
        raise FileNotFoundError(f'{folder} is a folder, and not one of a checkpoint in parts; in it are '
                                f'{", ".join(found) or "no files"}.')
    if not (folder / INDEX).is_file():
        raise ValueError(f'checkpoint {folder} is torn: {INDEX} is missing. Use an older checkpoint.')
    head = load_checkpoint(folder / INDEX, map_location)
    if not isinstance(head, dict) or head.get('format') != FORMAT:
        raise ValueError(f'{folder / INDEX} is no index of a sharded checkpoint that this version reads '
                         f"(its format is {head.get('format') if isinstance(head, dict) else type(head).__name__!r}).")
    missing = [name for name in head['parts'] if not (folder / name).is_file()]
    if missing:
        raise ValueError(f'checkpoint {folder} is torn: {", ".join(missing)} of its {len(head["parts"])} parts are '
                         'missing. Use an older checkpoint, or copy the folder again.')
    parts = [load_checkpoint(folder / name, map_location) for name in head['parts']]
    return _joined(head['checkpoint'], parts)


def _joined(value: Any, parts: list[dict[str, Tensor]]) -> Any:
    if isinstance(value, dict) and value.keys() == {'sharded', 'dim'}:
        return torch.cat([part.pop(value['sharded']) for part in parts], value['dim'])
    if isinstance(value, dict):
        return {key: _joined(item, parts) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_joined(item, parts) for item in value)
    return value


def divide_checkpoint(checkpoint: dict[str, Any], folder: str | os.PathLike, parts: int) -> Path:
    """Write a whole checkpoint in parts, as that many processes would have; one process calls this.

    Raises:
        ValueError: less than one part.
    """
    if parts < 1:
        raise ValueError(f'parts must be at least 1, got {parts}.')
    folder = Path(folder)
    temporary = folder.with_name(f'.{folder.name}.parts')
    shutil.rmtree(temporary, ignore_errors=True)
    index: dict[str, Any] = checkpoint
    for part in range(parts):
        pieces: dict[str, Tensor] = {}
        divided = {key: take_apart(checkpoint[key], lambda value, part=part: _piece(value, part, parts), pieces, key)
                   for key in _DIVIDED if key in checkpoint}
        index = {**checkpoint, **divided}
        save_checkpoint(pieces, temporary / f'part_{part}_of_{parts}.pth')
    _finish(index, temporary, folder, parts)
    return folder


def _piece(value: Any, part: int, parts: int) -> tuple[Tensor, int] | None:
    if not isinstance(value, Tensor) or not value.dim():
        return None
    pieces = value.chunk(parts)
    # a copy: a view would be written with all of its storage
    return (pieces[part] if part < len(pieces) else value[:0]).clone(), 0
