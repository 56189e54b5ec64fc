"""Lists of training and validation videos, drawn from a folder."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskforge.formats.atomic_file import write_atomically
from maskforge.formats.image_header import IMAGE_SUFFIXES
from maskforge.formats.video_file import VIDEO_SUFFIXES

from ..video.name_lists import select_names

#: what may stand for the annotations of a video: a folder of PNGs, or SA-V's JSON
_ANNOTATIONS = ('{}', '{}.json', '{}_manual.json')


@dataclass
class VideoLists:
    """What was written.

    Attributes:
        train, val: names.
        files: the two lists.
        skipped: one line for every video that is in no list, with the reason.
    """

    train: list[str]
    val: list[str]
    files: tuple[Path, Path]
    skipped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        left = f'; {len(self.skipped)} videos left out' if self.skipped else ''
        return f'{self.files[0]}: {len(self.train)} videos, {self.files[1]}: {len(self.val)} videos{left}'


def write_lists(folder: str | Path, output: str | Path, *, val_fraction: float = 0.1, num_val: int | None = None,
                seed: int = 0, gt_folder: str | Path | None = None,
                exclude: Sequence[str | Path] = ()) -> VideoLists:
    """Divide the videos of a folder at random into ``train.txt`` and ``val.txt``, one name a line.

    A video is a sub-folder with frames, or a video file. The same videos and seed give the same lists on any machine.

    Args:
        folder: of the videos.
        output: folder for the two lists.
        val_fraction: share of the videos for validation.
        num_val: their number instead.
        seed: of the draw.
        gt_folder: of the annotations; videos without any there are left out.
        exclude: lists of names to leave out, one a line.

    Raises:
        FileNotFoundError: no folder, or no videos in it.
        ValueError: a share or number out of range, or a list without videos.
    """
    names, skipped = _videos(Path(folder)), []
    if gt_folder is not None:
        lacking = {name for name in names if not _annotated(Path(gt_folder), name)}
        skipped += [f'{name}: no annotations in {gt_folder}' for name in sorted(lacking)]
        names = [name for name in names if name not in lacking]
    if exclude:
        kept = select_names(names, file_list=None, excluded=list(exclude), folder=folder)
        skipped += [f'{name}: excluded' for name in names if name not in kept]
        names = kept
    number = _number(len(names), val_fraction, num_val)
    chosen = {names[place] for place in np.random.default_rng(seed).permutation(len(names))[:number]}
    val, train = sorted(chosen), [name for name in names if name not in chosen]
    files = tuple(write_atomically(Path(output) / f'{name}.txt', ''.join(f'{line}\n' for line in lines).encode('utf-8'))
                  for name, lines in (('train', train), ('val', val)))
    return VideoLists(train, val, files, skipped)


def _videos(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f'folder of videos {folder} does not exist.')
    entries = [path for path in folder.iterdir() if not path.name.startswith('.')]
    names = [path.name for path in entries if path.is_dir() and _has_frames(path)]
    names += [path.stem for path in entries if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()]
    if not names:
        raise FileNotFoundError(f'{folder} holds no videos: folders of frames ({", ".join(IMAGE_SUFFIXES)}) or files '
                                f'({", ".join(VIDEO_SUFFIXES)}).')
    return sorted(set(names))


def _has_frames(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def _annotated(folder: Path, name: str) -> bool:
    if not folder.is_dir():
        raise FileNotFoundError(f'folder of annotations {folder} does not exist.')
    return any((folder / pattern.format(name)).exists() for pattern in _ANNOTATIONS)


def _number(total: int, val_fraction: float, num_val: int | None) -> int:
    """Videos for validation; both lists get one at least."""
    if total < 2:
        raise ValueError(f'{total} videos cannot be divided: training and validation need one each.')
    if num_val is not None:
        if not 0 < num_val < total:
            raise ValueError(f'num_val={num_val}: of {total} videos, 1 to {total - 1} can be for validation.')
        return num_val
    if not 0 < val_fraction < 1:
        raise ValueError(f'val_fraction={val_fraction}: a share between 0 and 1 is needed.')
    return min(max(round(val_fraction * total), 1), total - 1)
