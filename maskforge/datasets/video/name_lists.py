"""Lists of video (or image) names: which are used, which are left out."""
import difflib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from mmengine.logging import print_log

from maskforge.formats.image_header import IMAGE_SUFFIXES
from maskforge.formats.text_file import read_text_file

#: endings that lists may have and names have not; whatever else follows a dot belongs to the name
_SUFFIXES = (*IMAGE_SUFFIXES, '.json', '.mp4', '.avi', '.mov', '.mkv', '.webm')
_SHOWN = 3


def read_names(paths: str | Path | Sequence[str | Path] | None) -> list[str]:
    """Names in one list or several: one a line, empty lines left out.

    Raises:
        FileNotFoundError: a list does not exist.
        ValueError: a list is empty.
    """
    if paths is None:
        return []
    names: list[str] = []
    for path in [paths] if isinstance(paths, (str, Path)) else list(paths):
        found = [line.strip() for line in read_text_file(path, 'list of names').splitlines()]
        found = [name for name in found if name]
        if not found:
            raise ValueError(f'{path} is empty; a list has one name a line.')
        names += found
    return names


def select_names(available: Sequence[str], *, file_list: str | Path | Sequence | None,
                 excluded: str | Path | Sequence | None, folder: str | Path,
                 exists: Callable[[str], bool] = lambda name: False) -> list[str]:
    """The names of ``file_list`` in its order, or all that there are, without the excluded ones.

    Args:
        available: names in ``folder``.
        file_list, excluded: a list file or several. Endings such as .mp4, .jpg or .json may follow a name.
        exists: says whether a name that is not in ``available`` (one of a folder below) is there all the same.

    Raises:
        ValueError: a name of ``file_list`` does not exist (with near names), or nothing is left.
    """
    known = set(available)
    wanted = read_names(file_list)
    chosen = [_resolve(name, known, exists) for name in wanted] if file_list is not None else list(available)
    missing = [name for name, found in zip(wanted, chosen) if found is None]
    if missing:
        raise ValueError(f'{file_list} names {len(missing)} of {len(wanted)} that {folder} does not have: '
                         f'{_with_near(missing, known)}. Correct the list or the folder.')
    left_out = read_names(excluded)
    resolved = {name: _resolve(name, known, exists) for name in left_out}
    unknown = [name for name, found in resolved.items() if found is None]
    if unknown:
        print_log(f'{excluded} excludes {len(unknown)} names that {folder} does not have: '
                  f'{_with_near(unknown, known)}.', 'current', logging.WARNING)
    out = set(resolved.values())
    kept = [name for name in chosen if name not in out]
    if not kept:
        raise ValueError(f'{folder}: none of {len(known)} names is left (list: {file_list}, excluded: {excluded}).')
    return kept


def _resolve(name: str, known: set[str], exists: Callable[[str], bool]) -> str | None:
    path = PurePosixPath(name)
    bare = str(path.with_suffix('')) if path.suffix.lower() in _SUFFIXES else name
    return next((option for option in (name, bare) if option in known or exists(option)), None)


def _with_near(names: Sequence[str], known: set[str]) -> str:
    near = difflib.get_close_matches(names[0], sorted(known)[:100_000], n=2, cutoff=0.6)
    hint = f' (did you mean {" or ".join(near)}?)' if near else ''
    more = ', ...' if len(names) > _SHOWN else ''
    return f'{names[0]}{hint}{"".join(f", {name}" for name in names[1:_SHOWN])}{more}'
