"""Which checkpoint a run continues from."""
import os
import re
from pathlib import Path

from mmengine.logging import print_log

from maskforge.formats.atomic_file import write_atomically

from .checkpoint_file import is_whole

POINTER = 'last_checkpoint'
_COUNTED = re.compile(r'^(?:epoch|iter)_\d+(?:\.pth)?$')


def write_last_checkpoint(work_dir: str | os.PathLike, checkpoint: str | os.PathLike) -> Path:
    """Note in ``work_dir/last_checkpoint`` which file is the newest, relative, so that the folder can be moved."""
    relative = os.path.relpath(os.path.abspath(checkpoint), os.path.abspath(work_dir))
    return write_atomically(Path(work_dir) / POINTER, lambda stream: stream.write(relative.encode()))


def find_latest(work_dir: str | os.PathLike) -> Path | None:
    """Return the newest whole checkpoint of a run; None where there is none.

    First the file that ``last_checkpoint`` names (relative, or absolute as MMEngine writes it), then ``epoch_N.pth``
    and ``iter_N.pth`` (in parts: the folders ``epoch_N`` and ``iter_N``) from the newest back. A torn one is passed
    over with a warning.
    """
    for path in _candidates(Path(work_dir)):
        if is_whole(path):
            return path
        print_log(f'checkpoint {path} is torn (the run was interrupted while it was written); trying the one before',
                  'current', 30)
    return None


def _candidates(work_dir: Path) -> list[Path]:
    found: list[Path] = []
    pointer = work_dir / POINTER
    if pointer.is_file():
        named = Path(pointer.read_text(encoding='utf-8').strip())
        # a moved work_dir: an absolute path of MMEngine's is looked up by its name
        for path in (work_dir / named, work_dir / named.name):
            if path.exists():
                found.append(path)
                break
    if work_dir.is_dir():
        counted = [p for p in work_dir.iterdir() if _COUNTED.match(p.name)]
        found += sorted(counted, key=lambda p: p.stat().st_mtime, reverse=True)
    return list(dict.fromkeys(found))
