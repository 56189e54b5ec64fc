"""KITTI's label folders to sharded COCO JSON."""
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskforge.formats.coco_json import write_coco_json
from maskforge.formats.image_header import read_image_size
from maskforge.formats.json_file import read_json_dict
from maskforge.formats.kitti import KittiObject, class_key, read_kitti_labels
from maskforge.formats.text_file import read_text_file

from .coco_builder import CocoBuilder, Conversion

ORDERS = ('reverse', 'given')
PARTITION_MODES = ('random', 'sequence')
#: KITTI's name for regions without labels
DONT_CARE = 'DontCare'


@dataclass(frozen=True)
class SequenceFolder:
    """One folder of frames: where it lies, the name of its output, and how its files are named in the output."""

    root: Path
    name: str
    prefix: str


def convert(input_source: str | Path, results_dir: str | Path, *, data_root: str | Path | None = None,
            image_dir_name: str = 'images', label_dir_name: str = 'labels', image_extension: str = '.jpg',
            num_shards: int = 32, num_partitions: int = 1, partition_mode: str | None = None,
            val_split: float | None = None, mapping: str | Path | Mapping | None = None,
            category_order: str = 'reverse', seed: int = 42) -> Conversion:
    """Convert sequences, each a folder with an image and a label folder, to COCO JSON in shards.

    Writes ``{name}/{name}[-fold-PPP-of-NNN][-shard-SSSSS-of-NNNNN].json`` below ``results_dir``. Every image is in
    exactly one shard, shards differ by one image at most, the same input gives the same files, and each file is
    written whole or not at all. Ids count from 1 over all files.

    Args:
        input_source: text file with one sequence folder a line, or one such folder.
        results_dir: folder for the JSON files.
        data_root: folder that the lines are below, and that ``file_name`` is relative to; by default the lines are
            paths and ``file_name`` is relative to the folder that holds all sequences.
        image_dir_name, label_dir_name: folders of the images and of the text files in a sequence.
        image_extension: only files with this ending are frames; capitals do not count.
        num_shards: files per sequence and partition (fewer where there are fewer images); 0 writes one, unnumbered.
        num_partitions: folds, for example 2 for validation (fold 0) and training (fold 1).
        partition_mode: 'random' deals the images of every sequence to the folds, 'sequence' deals whole sequences;
            'random' by default.
        val_split: with two partitions, the percentage of fold 0; equal parts by default.
        mapping: JSON file {KITTI class: target class}. Capitals do not count, and underscores are spaces. A class
            that it lacks is left out and listed, one with the target null is left out. By default every class but
            KITTI's DontCare is kept.
        category_order: 'reverse' numbers the target classes in reverse alphabetical order, 'given' in that of mapping.
        seed: of the random partition.

    Raises:
        FileNotFoundError: a folder, a label or the mapping is missing, or there are no images.
        ValueError: settings that contradict each other, two sequences of one name, a broken label line, or
            ``results_dir`` holds shards of another conversion.
    """
    mode = _check_settings(num_shards, num_partitions, partition_mode, val_split, category_order)
    sequences = _list_sequences(Path(input_source), None if data_root is None else Path(data_root))
    frames = [_list_frames(sequence, image_dir_name, image_extension) for sequence in sequences]
    labels = [_read_labels(sequence, paths, label_dir_name) for sequence, paths in zip(sequences, frames)]
    targets, classes = _targets(mapping, category_order, [obj for found in labels for objs in found for obj in objs],
                                input_source)
    builder = CocoBuilder(classes)
    for sequence, paths, found in zip(sequences, frames, labels):
        _add_sequence(builder, sequence, paths, found, targets)
    builder.skipped += _unmapped(labels, targets) + _without_labels(sequences, frames, label_dir_name)
    folds = _partition([len(paths) for paths in frames], num_partitions, mode, val_split, seed)
    plan = _plan_files(Path(results_dir), sequences, folds, num_partitions, num_shards)
    _refuse_leftovers(plan, sequences, Path(results_dir))
    return _write(builder, plan, classes, Path(results_dir))


def _check_settings(num_shards: int, num_partitions: int, mode: str | None, val_split: float | None,
                    order: str) -> str:
    if num_shards < 0 or num_partitions < 1:
        raise ValueError(f'num_shards={num_shards} must not be negative and num_partitions={num_partitions} must be '
                         'at least 1.')
    if mode not in (None, *PARTITION_MODES):
        raise ValueError(f'partition_mode={mode!r}: allowed are {", ".join(PARTITION_MODES)}.')
    if val_split is not None and (num_partitions != 2 or not 0 < val_split < 100):
        raise ValueError(f'val_split={val_split} is a percentage between 0 and 100 and needs num_partitions=2, got '
                         f'num_partitions={num_partitions}.')
    if order not in ORDERS:
        raise ValueError(f'category_order={order!r}: allowed are {", ".join(ORDERS)}.')
    return mode or 'random'


def _list_sequences(source: Path, data_root: Path | None) -> list[SequenceFolder]:
    if source.is_dir():
        lines = [str(source)] if data_root is None else [os.path.relpath(source, data_root)]
    else:
        text = read_text_file(source, 'list of sequences')
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f'{source} lists no sequence; one folder a line is needed.')
    roots = [Path(line) if data_root is None else data_root / line for line in lines]
    missing = [root for root in roots if not root.is_dir()]
    if missing:
        raise FileNotFoundError(f'{source}: the folder {missing[0]} does not exist'
                                + ('; data_root can name the folder that the lines are below.' if data_root is None
                                   else f' (data_root {data_root}).'))
    names = [root.resolve().name for root in roots]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f'{source} lists two sequences of the name {twice[0]!r}; their files would be mixed up.')
    base = data_root or os.path.commonpath([root.resolve().parent for root in roots])
    return [SequenceFolder(root, name, Path(os.path.relpath(root.resolve(), Path(base).resolve())).as_posix())
            for root, name in zip(roots, names)]


def _list_frames(sequence: SequenceFolder, image_dir_name: str, extension: str) -> list[Path]:
    folder = sequence.root / image_dir_name
    if not folder.is_dir():
        inside = ', '.join(sorted(path.name for path in sequence.root.iterdir())[:8]) or 'nothing'
        raise FileNotFoundError(f'folder {folder} does not exist ({sequence.root} holds {inside}); set image_dir_name.')
    frames = sorted(path for path in folder.iterdir() if path.name.lower().endswith(extension.lower()))
    if not frames:
        found = ', '.join(sorted({path.suffix for path in folder.iterdir() if path.suffix})) or 'none'
        raise FileNotFoundError(f'{folder} holds no images with the ending {extension} (endings found: {found}); set '
                                'image_extension.')
    return frames


def _label_file(sequence: SequenceFolder, frame: Path, label_dir_name: str) -> Path:
    return sequence.root / label_dir_name / f'{frame.stem}.txt'


def _read_labels(sequence: SequenceFolder, frames: Sequence[Path], label_dir_name: str) -> list[list[KittiObject]]:
    if not (sequence.root / label_dir_name).is_dir():
        raise FileNotFoundError(f'folder {sequence.root / label_dir_name} does not exist; set label_dir_name.')
    paths = [_label_file(sequence, frame, label_dir_name) for frame in frames]
    return [read_kitti_labels(path) if path.is_file() else [] for path in paths]


def _without_labels(sequences: Sequence[SequenceFolder], frames: Sequence[Sequence[Path]],
                    label_dir_name: str) -> list[str]:
    return [f'{frame}: there is no label file for it; the image is kept without objects'
            for sequence, paths in zip(sequences, frames) for frame in paths
            if not _label_file(sequence, frame, label_dir_name).is_file()]


def _targets(mapping: str | Path | Mapping | None, order: str,
             objects: Sequence[KittiObject], input_source: str | Path) -> tuple[dict[str, str | None], list[str]]:
    """Key of a KITTI class -> target class (None: leave out without a word), and the targets by category id."""
    if mapping is None:
        if order == 'given':
            raise ValueError("category_order='given' is the order of mapping, and there is none.")
        given = {class_key(DONT_CARE): None}
        for name in sorted(obj.name for obj in objects):  # the first spelling names the class
            given.setdefault(class_key(name), name)
        source = f'the labels of {input_source}'
    else:
        source = 'mapping' if isinstance(mapping, Mapping) else str(mapping)
        given = _normalised(mapping if isinstance(mapping, Mapping) else read_json_dict(mapping), source)
    names = list(dict.fromkeys(target for target in given.values() if target))
    if not names:
        raise ValueError(f'{source}: there is no class.')
    return given, sorted(names, reverse=True) if order == 'reverse' else names


def _normalised(mapping: Mapping, source: str) -> dict[str, str | None]:
    given: dict[str, str | None] = {}
    for name, target in mapping.items():
        if not (target is None or (isinstance(target, str) and target)):
            raise ValueError(f'{source}: the class {name!r} has the target {json.dumps(target)}; a class name, or null '
                             'to leave it out, is needed.')
        if given.setdefault(class_key(name), target) != target:
            raise ValueError(f'{source} gives {name!r} two targets, {given[class_key(name)]!r} and {target!r}; '
                             'capitals do not count and underscores are spaces.')
    return given


def _unmapped(labels: Sequence[Sequence[Sequence[KittiObject]]], targets: Mapping[str, str | None]) -> list[str]:
    counts = Counter(obj.name for found in labels for objects in found for obj in objects
                     if class_key(obj.name) not in targets)
    return [f'class {name!r} ({count} objects) is not in the mapping' for name, count in sorted(counts.items())]


def _add_sequence(builder: CocoBuilder, sequence: SequenceFolder, frames: Sequence[Path],
                  labels: Sequence[Sequence[KittiObject]], targets: Mapping[str, str | None]) -> None:
    for frame, objects in zip(frames, labels):
        height, width = read_image_size(frame, upright=True)
        file_name = f'{sequence.prefix}/{frame.relative_to(sequence.root).as_posix()}'
        builder.add_image(file_name, height=height, width=width)
        for obj in objects:
            target = targets.get(class_key(obj.name))
            if target is not None:
                builder.add_object(target, f'{obj.place} ({obj.name})', box=obj.box)


def _partition(sizes: Sequence[int], count: int, mode: str, val_split: float | None, seed: int) -> list[np.ndarray]:
    """For every sequence, the fold of each of its images."""
    bounds = np.arange(1, count) / count if val_split is None else np.array([val_split / 100])
    rng = np.random.default_rng(seed)
    if mode == 'sequence':
        of_sequence = _fold(rng.permutation(len(sizes)), len(sizes), bounds)
        folds = [np.full(size, fold) for fold, size in zip(of_sequence, sizes)]
    else:
        folds = [_fold(rng.permutation(size), size, bounds) for size in sizes]
    empty = sorted(set(range(count)) - set(np.concatenate(folds).tolist()))
    if empty:
        raise ValueError(f'partition {empty[0]} of {count} would be empty: {len(sizes)} sequences of {list(sizes)} '
                         f'images (partition_mode={mode!r}, val_split={val_split}).')
    return folds


def _fold(ranks: np.ndarray, size: int, bounds: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.round(bounds * size), ranks, side='right')


def _plan_files(results_dir: Path, sequences: Sequence[SequenceFolder], folds: Sequence[np.ndarray], count: int,
                num_shards: int) -> dict[Path, np.ndarray]:
    """Output file -> rows of its images."""
    plan: dict[Path, np.ndarray] = {}
    first = 0
    for sequence, fold in zip(sequences, folds):
        for number in range(count):
            rows = first + np.flatnonzero(fold == number)
            name = sequence.name + (f'-fold-{number:03d}-of-{count:03d}' if count > 1 else '')
            shards = min(num_shards, len(rows))
            for shard in range(shards):
                path = results_dir / sequence.name / f'{name}-shard-{shard:05d}-of-{shards:05d}.json'
                plan[path] = rows[shard::shards]  # every n-th image, so that each shard shows the whole sequence
            if not num_shards and len(rows):
                plan[results_dir / sequence.name / f'{name}.json'] = rows
        first += len(fold)
    return plan


def _refuse_leftovers(plan: Mapping[Path, np.ndarray], sequences: Sequence[SequenceFolder], results_dir: Path) -> None:
    """Stop where shards of another conversion would be read together with the new ones."""
    for sequence in sequences:
        ours = re.compile(re.escape(sequence.name) + r'(-fold-\d{3}-of-\d{3})?(-shard-\d{5}-of-\d{5})?\.json')
        other = sorted(path for path in (results_dir / sequence.name).glob('*.json')
                       if ours.fullmatch(path.name) and path not in plan)
        if other:
            raise ValueError(f'{results_dir / sequence.name} holds {len(other)} files of another conversion (first '
                             f'{other[0].name}), which would be read along with the new ones; remove them or choose '
                             'another results_dir.')


def _write(builder: CocoBuilder, plan: Mapping[Path, np.ndarray], classes: Sequence[str],
           results_dir: Path) -> Conversion:
    ids = {name: number for number, name in enumerate(classes, 1)}
    of_image: dict[int, list[dict]] = {}
    for record in builder.annotations:
        of_image.setdefault(record['image_id'], []).append({**record, 'category_id': ids[record['category_id']]})
    for path, rows in plan.items():
        images = [builder.images[row] for row in rows.tolist()]
        write_coco_json(path, images=images, categories=[dict(id=ids[name], name=name) for name in classes],
                        annotations=[record for image in images for record in of_image.get(image['id'], ())])
    counts = Counter(record['category_id'] for record in builder.annotations)
    return Conversion(results_dir, len(builder.images), len(builder.annotations),
                      {name: counts[name] for name in classes}, builder.skipped, list(plan))
