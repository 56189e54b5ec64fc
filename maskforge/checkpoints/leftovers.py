"""What writers leave behind that were killed while they wrote."""
import os
import re
from pathlib import Path

_UNFINISHED = re.compile(r'\.(?:epoch_|iter_|best_).*\.(?:pth|safetensors)\.(?:\w{8}\.tmp|link)')


def remove_leftovers(folder: str | os.PathLike) -> list[str]:
    """Remove unfinished checkpoints, each as large as a whole one, and return their names.

    Only for the one run that writes into ``folder``.
    """
    if not Path(folder).is_dir():
        return []
    found = [path for path in Path(folder).iterdir() if _UNFINISHED.fullmatch(path.name) and path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return sorted(path.name for path in found)
