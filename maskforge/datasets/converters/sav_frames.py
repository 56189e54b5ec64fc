"""Video files (SA-V's, or your own) to folders of frames."""
import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.logging import print_log

from maskforge.formats.video_file import VIDEO_SUFFIXES, try_extract

_LOG_SECONDS = 20.0


@dataclass
class Extraction:
    """What was done.

    Attributes:
        output: folder of the folders of frames.
        videos, frames: written now.
        present: videos that were finished before.
        skipped: one line for every video that was left out, with the reason.
        shard: which part of the videos this was, in words; empty where it was all of them.
    """

    output: Path
    videos: int = 0
    frames: int = 0
    present: int = 0
    skipped: list[str] = field(default_factory=list)
    shard: str = ''

    def __str__(self) -> str:
        before = f', {self.present} videos were there already' if self.present else ''
        broken = f'; {len(self.skipped)} videos left out' if self.skipped else ''
        return f'{self.output}: {self.frames} frames of {self.videos} videos{before}{self.shard}{broken}'


def convert(source: str | Path, output: str | Path, *, sample_rate: int = 4, num_workers: int | None = None,
            quality: int = 95, num_shards: int | None = None, shard: int | None = None) -> Extraction:
    """Write every fourth frame of all videos as ``OUTPUT/VIDEO/{number of the frame:05d}.jpg``.

    Numbers are those of the video's own frames, so that names match the annotations of SA-V. Videos that are done are
    not done again, and a video that cannot be read is named and the others go on. Under Slurm (``srun``) every task
    takes its share of the videos.

    Args:
        source: folder of video files, searched through all its sub-folders, or one file.
        output: folder for one folder a video.
        sample_rate: distance of the frames; SA-V's manual annotations are on every fourth.
        num_workers: processes; by default one a CPU of this task.
        quality: of the JPEG files, 1 to 100.
        num_shards: into how many parts the videos are divided; under Slurm SLURM_NTASKS, else 1.
        shard: which part this is, from 0; under Slurm SLURM_PROCID, else 0.

    Raises:
        FileNotFoundError: no source, or no videos in it.
        ValueError: settings out of range, or two videos of one name.
    """
    for name, value, high in (('sample_rate', sample_rate, None), ('quality', quality, 100),
                              ('num_workers', num_workers, None)):
        if value is not None and (value < 1 or (high is not None and value > high)):
            raise ValueError(f'{name}={value}: allowed are whole numbers from 1{f" to {high}" if high else ""}.')
    videos, note = _share(list_videos(source), num_shards, shard)
    jobs = [(path, Path(output) / path.stem, sample_rate, quality) for path in videos]
    workers = min(_cpus() if num_workers is None else num_workers, max(len(jobs), 1))
    done, start, last = Extraction(Path(output), shard=note), time.monotonic(), time.monotonic()
    for place, (path, frames, present, problem) in enumerate(_run(jobs, workers), 1):
        if problem:
            done.skipped.append(f'{path}: {problem}' if str(path) not in problem else problem)
        else:
            done.videos += not present
            done.present += present
            done.frames += 0 if present else frames
        if time.monotonic() - last > _LOG_SECONDS:
            last = time.monotonic()
            print_log(f'{place}/{len(jobs)} videos, {place / (last - start):.2f} a second', logger='current',
                      level=logging.INFO)
    done.skipped.sort()
    return done


def list_videos(source: str | Path) -> list[Path]:
    """Video files below a folder, by name; or the one file.

    Raises:
        FileNotFoundError: no such folder, or no videos in it.
        ValueError: two files would have one folder of frames.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f'folder of videos {source} does not exist.')
    found: dict[str, Path] = {}
    for path in sorted(source.rglob('*')):
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith('.') or not path.is_file():
            continue
        if path.stem in found:
            raise ValueError(f'{found[path.stem]} and {path} have the same name, so their frames would mix; convert '
                             'them into different folders.')
        found[path.stem] = path
    if not found:
        raise FileNotFoundError(f'{source} holds no videos ({", ".join(VIDEO_SUFFIXES)}).')
    return [found[name] for name in sorted(found)]


def _share(videos: list[Path], num_shards: int | None, shard: int | None) -> tuple[list[Path], str]:
    """The videos of one part, and that it is one, in words."""
    origin = ''
    if num_shards is None and shard is None and 'SLURM_PROCID' in os.environ:
        num_shards, shard = int(os.environ.get('SLURM_NTASKS', 1)), int(os.environ['SLURM_PROCID'])
        origin = ' of Slurm'
    number, part = 1 if num_shards is None else num_shards, shard or 0
    if number < 1 or not 0 <= part < number:
        raise ValueError(f'shard={part} of num_shards={number}{origin}: shards count from 0 to num_shards - 1.')
    return videos[part::number], f' (shard {part} of {number}{origin})' if number > 1 else ''


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _run(jobs: list[tuple], workers: int) -> Iterator[tuple[Path, int, bool, str]]:
    """Do all jobs; yield them as they finish."""
    if workers == 1:
        yield from map(try_extract, jobs)
        return
    # spawned, not forked: decoders of a forked process may wait for threads that it has not
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context('spawn')) as pool:
        try:
            yield from (future.result() for future in as_completed([pool.submit(try_extract, job) for job in jobs]))
        except BrokenProcessPool:
            raise RuntimeError('a worker process was ended from outside (out of memory?). What is finished stays: run '
                               'the same command again, with fewer num_workers.') from None
