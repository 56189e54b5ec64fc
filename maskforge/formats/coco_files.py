"""Several COCO files (sources, shards) read as one: categories that agree, image ids that are unique."""
import glob
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from .coco_json import CocoJson
from .json_file import require_file

PathList = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class CocoFiles:
    """Files in a fixed order.

    Attributes:
        files: each with the categories of all files.
        image_ids: for each file (N,) int64, unique over all files: the file's own ids where they are, else numbers
            above every id of the files.
    """

    files: tuple[CocoJson, ...]
    image_ids: tuple[np.ndarray, ...]

    @classmethod
    def load(cls, paths: Sequence[str | Path], **options: Any) -> 'CocoFiles':
        """Read files; ``options`` are those of :meth:`CocoJson.load`.

        Raises:
            FileNotFoundError, ValueError: as :meth:`CocoJson.load`; or two files give one category id two names, or
                one name two ids.
        """
        files = [CocoJson.load(path, **options) for path in paths]
        categories = _merge_categories(files)
        files = [file.with_categories(categories) for file in files]
        return cls(tuple(files), tuple(_unique_ids([file.images.ids for file in files])))

    def __len__(self) -> int:
        return sum(len(file) for file in self.files)

    def __iter__(self) -> Iterator[tuple[CocoJson, np.ndarray]]:
        return iter(zip(self.files, self.image_ids))

    @property
    def categories(self) -> list[dict]:
        """The category records of all files, sorted by id."""
        return self.files[0].categories


def find_json_files(json_file: PathList, *, root: str | Path | None = None) -> list[str]:
    """The files that a path, a glob pattern, or a list of these stands for, each once; those of a pattern sorted.

    A pattern whose last part has no ending (``shards/*``) takes JSON files only.

    Args:
        root: folder that relative paths are below.

    Raises:
        FileNotFoundError: a file does not exist, or a pattern matches nothing.
        ValueError: the list is empty.
    """
    given = [json_file] if isinstance(json_file, (str, Path)) else list(json_file)
    if not given:
        raise ValueError('the list of annotation files is empty; at least one file or pattern is needed.')
    found: list[str] = []
    for item in given:
        path = Path(root, item) if root else Path(item)
        is_pattern = glob.has_magic(str(item)) and not path.exists()
        found += _match(path) if is_pattern else [str(require_file(path, 'annotation file'))]
    return list(dict.fromkeys(found))


def _match(pattern: Path) -> list[str]:
    names = sorted(name for name in glob.glob(str(pattern), recursive=True) if Path(name).is_file())
    if not pattern.suffix:
        names = [name for name in names if name.lower().endswith('.json')]
    if not names:
        folder = pattern.parent
        state = f'{folder} does not exist' if not glob.has_magic(str(folder)) and not folder.is_dir() \
            else f'{folder} has {len(glob.glob(str(folder / "*.json")))} JSON files'
        raise FileNotFoundError(f'no annotation file matches {pattern} ({state}; working folder: {Path.cwd()}).')
    return names


def _merge_categories(files: Sequence[CocoJson]) -> list[dict]:
    by_id: dict[int, tuple[dict, str]] = {}
    by_name: dict[str, tuple[dict, str]] = {}
    for file in files:
        for record in file.categories:
            for known, key, other in ((by_id, 'id', 'name'), (by_name, 'name', 'id')):
                first, path = known.setdefault(record[key], (record, file.path))
                if first[other] != record[other]:
                    raise ValueError(
                        f'the categories of {path} and {file.path} contradict each other: {key} {record[key]!r} has '
                        f'the {other} {first[other]!r} in one and {record[other]!r} in the other. Number them alike.')
    for file in files:
        lacking = [name for name in by_name if name not in file.category_names]
        if lacking:
            print_log(f'{file.path} lacks the categories {", ".join(lacking[:5])}{" ..." if lacking[5:] else ""} that '
                      'other sources have: objects of these count as background there.', 'current', logging.WARNING)
    return [record for _, (record, _) in sorted(by_id.items())]


def _unique_ids(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Keep the first use of every id, and number the others from the largest id on."""
    every = np.concatenate(parts)
    _, first = np.unique(every, return_index=True)
    repeated = np.ones(len(every), bool)
    repeated[first] = False
    if repeated.any():
        print_log(f'{int(repeated.sum())} of {len(every)} images have ids that another source uses as well; they are '
                  f'numbered from {every.max() + 1} on.', 'current', logging.INFO)
        every = every.copy()
        every[repeated] = every.max() + 1 + np.arange(repeated.sum())
    return np.split(every, np.cumsum([len(part) for part in parts])[:-1])
