"""What writers leave behind that were killed while they wrote."""
import os
import re
import shutil
from pathlib import Path

_UNFINISHED = re.compile(r'\.(?:epoch_|iter_|best_).*\.(?:pth|safetensors)\.(?:\w{8}\.tmp|link)')
_UNFINISHED_PARTS = re.compile(r'\.(?:epoch_|iter_|best_).*\.(?:parts|link)')


def remove_leftovers(folder: str | os.PathLike) -> list[str]:
    """Remove unfinished checkpoints, each as large as a whole one, and return their names.

    Only for the one run that writes into ``folder``.
    """
    if not Path(folder).is_dir():
        return []
    found = [path for path in Path(folder).iterdir() if _UNFINISHED.fullmatch(path.name) and path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    folders = [path for path in Path(folder).iterdir() if _UNFINISHED_PARTS.fullmatch(path.name) and path.is_dir()]
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
    return sorted(path.name for path in [*found, *folders])
