"""What a labelling job has done so far: one file per finished chunk, which a kill at any moment leaves whole."""
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maskforge.formats.atomic_file import write_atomically
from maskforge.formats.json_file import read_json_dict, write_json

SETTINGS = 'settings.json'
_OPEN_FILES = 64


class LabelJournal:
    """The folder ``<out>.parts``: settings, and one file of JSON lines per finished chunk.

    A chunk's file appears whole or not at all, so that its existence means that the chunk is done; processes that
    label different chunks never write to the same file.

    Args:
        out: the file that the job will write.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out.with_name(f'{out.name}.parts')
        self._trash = out.with_name(f'.{out.name}.done')
        self._out, self._finished = out, out.with_name(f'{out.name}.job')

    def open(self, settings: dict[str, Any], *, resume: bool) -> bool:
        """Start or go on; called by one process before the others look. Returns whether the job is finished.

        Raises:
            ValueError: the folder or the output belongs to a job with other settings; the differences are named.
        """
        settings = json.loads(json.dumps(settings))
        if not resume:
            self._finished.unlink(missing_ok=True)
            self.remove()
        self._remove_torn_files()
        shutil.rmtree(self._trash, ignore_errors=True)
        if self._finished.is_file() and self._out.is_file():
            self._compare(f'{self._out} is of a finished job', read_json_dict(self._finished), settings)
            self.remove()
            return True
        if (self.folder / SETTINGS).is_file():
            self._compare(f'{self.folder} holds a started job', read_json_dict(self.folder / SETTINGS), settings)
        else:
            self.remove()
            write_json(settings, self.folder / SETTINGS)
        return False

    @staticmethod
    def _compare(what: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        changed = [f'{key} was {old.get(key)!r}, now {new.get(key)!r}' for key in {**old, **new}
                   if old.get(key) != new.get(key)]
        if changed:
            raise ValueError(f'{what} with other settings ({"; ".join(changed)}). Use another output file, or '
                             f'resume=False (--overwrite) to start this one anew.')

    def finish(self) -> None:
        """Keep the settings beside the output as ``<out>.job``, so that nobody does the work twice; remove the rest."""
        write_atomically(self._finished, (self.folder / SETTINGS).read_bytes())
        self.remove()

    def _remove_torn_files(self) -> None:
        """Temporary files of writes that a kill cut off, of the chunks and of the output."""
        name = self.folder.name.removesuffix('.parts')
        for torn in (*self.folder.glob('.*.tmp'), *self.folder.parent.glob(f'.{name}.*.tmp')):  # also of <out>.job
            torn.unlink(missing_ok=True)

    def check_shared(self) -> None:
        """Raise where another process opened the journal, but its folder is not to be seen here.

        Raises:
            FileNotFoundError: the output does not lie on a disk that all machines share.
        """
        if not (self.folder / SETTINGS).is_file():
            raise FileNotFoundError(f'{self.folder} was made by the first process but is not here: the output must lie '
                                    f'on a disk that all machines share.')

    def done(self, count: int) -> list[bool]:
        """Which of ``count`` chunks are done."""
        names = {entry.name for entry in os.scandir(self.folder)}
        return [self._file(chunk).name in names for chunk in range(count)]

    def add(self, chunk: int, entries: Sequence[dict[str, Any]]) -> None:
        """Keep a finished chunk; ``row`` of each entry is the box."""
        text = ''.join(json.dumps(entry, separators=(',', ':')) + '\n' for entry in entries)
        write_atomically(self._file(chunk), text.encode())

    def results(self, chunks: int, rows: int) -> 'LabelResults':
        """All entries of the finished job, by row."""
        return LabelResults([self._file(chunk) for chunk in range(chunks)], rows)

    def remove(self) -> None:
        """Forget the job. First out of the way as a whole, so that a kill leaves no half journal."""
        shutil.rmtree(self._trash, ignore_errors=True)
        if self.folder.exists():
            os.replace(self.folder, self._trash)
            shutil.rmtree(self._trash)

    def _file(self, chunk: int) -> Path:
        return self.folder / f'chunk_{chunk:07d}.jsonl'


class LabelResults:
    """Entries by row, read from the chunks' files when asked for; 16 bytes a box are kept.

    Raises:
        FileNotFoundError: a chunk's file is missing.
    """

    def __init__(self, files: Sequence[Path], rows: int) -> None:
        self.files = files
        self.chunk_of = np.full(rows, -1, np.int64)
        self.place_of = np.zeros(rows, np.int64)
        for chunk, path in enumerate(files):
            place = 0
            with path.open('rb') as file:
                for line in file:
                    row = json.loads(line)['row']
                    self.chunk_of[row], self.place_of[row] = chunk, place
                    place += len(line)
        self._open: dict[int, BinaryIO] = {}

    def get(self, row: int) -> dict[str, Any] | None:
        """The entry of a box, or None for one that was not to be labelled."""
        chunk = int(self.chunk_of[row])
        if chunk < 0:
            return None
        file = self._file(chunk)
        file.seek(int(self.place_of[row]))
        return json.loads(file.readline())

    def close(self) -> None:
        """Close the chunks' files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _file(self, chunk: int) -> BinaryIO:
        if chunk not in self._open:
            if len(self._open) >= _OPEN_FILES:
                self._open.pop(next(iter(self._open))).close()
            self._open[chunk] = self.files[chunk].open('rb')
        return self._open[chunk]
