"""Memory that annotations cost each loader worker, for the data set types 'serialized' and 'default'.

Writes a COCO file of boxes, and for each type starts a process that reads it, starts loader workers, and lets them go
through all records in random order, twice. What the workers hold for themselves then (unique set size) is compared with
what workers that only count hold, which start before the file is read. Linux only.

    python tools/benchmarks/annotation_memory.py --images 200000 --boxes 7 --workers 8
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from maskforge.datasets.coco_sources import DATASET_TYPES
from maskforge.engine.data_loading import build_dataloader

MIB = 1024


class Numbers:
    """As many records as the data set has, without any memory of their own."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def write_annotations(path: Path, images: int, boxes: int) -> None:
    """A COCO file with ``boxes`` objects of 80 classes in each image."""
    rng = np.random.default_rng(0)
    corners, sides = rng.integers(0, 400, (images * boxes, 2)), rng.integers(10, 80, (images * boxes, 2))
    classes = rng.integers(1, 81, images * boxes)
    annotations = [dict(id=i + 1, image_id=i // boxes + 1, category_id=category, bbox=[*corner, *side],
                        area=side[0] * side[1], iscrowd=0)
                   for i, (corner, side, category) in enumerate(zip(corners.tolist(), sides.tolist(),
                                                                    classes.tolist()))]
    data = dict(images=[dict(id=i, file_name=f'{i:012d}.jpg', height=480, width=640) for i in range(1, images + 1)],
                annotations=annotations, categories=[dict(id=i, name=f'class {i}') for i in range(1, 81)])
    path.write_text(json.dumps(data))


def memory(process: int) -> float:
    """What a process holds for itself, in MiB."""
    rows = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()[1:]
    return sum(int(row.split()[1]) for row in rows if row.startswith('Private')) / MIB


def children() -> list[int]:
    """Process ids of the children."""
    return [int(text) for text in Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()]


def loader_of(dataset, workers: int) -> DataLoader:
    """The engine's loader."""
    return build_dataloader(dict(
        dataset=dataset, batch_size=64, num_workers=workers, collate_fn=len, persistent_workers=True,
        multiprocessing_context='fork', sampler=dict(type='DefaultSampler', shuffle=True)), seed=0)


def workers_memory(loader: DataLoader) -> float:
    """What a loader worker holds for itself after two passes through all records, on average, in MiB."""
    before = set(children())
    records = sum(loader) + sum(loader)
    found = [memory(process) for process in children() if process not in before]
    if records != 2 * len(loader.dataset) or len(found) != loader.num_workers:
        raise RuntimeError(f'{records} of 2 x {len(loader.dataset)} records, {len(found)} workers')
    return float(np.mean(found))


def measure(path: str, kind: str, images: int, workers: int) -> dict[str, float]:
    """Read the file in this process and measure it and its workers."""
    idle = workers_memory(loader_of(Numbers(images), workers))
    own, start = memory(os.getpid()), time.perf_counter()
    loader = loader_of(dict(type='CocoSourcesDataset', data_sources=dict(image_dir='images', json_file=path),
                            dataset_type=kind, pipeline=[]), workers)
    seconds, read = time.perf_counter() - start, memory(os.getpid()) - own
    added = workers_memory(loader) - idle
    return dict(type=kind, seconds=seconds, main=read, worker=added, all_workers=workers * added)


def main() -> int:
    """Write the file, measure both types in processes of their own, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=200_000)
    parser.add_argument('--boxes', type=int, default=7)
    parser.add_argument('--workers', type=int, default=8)
    parser.add_argument('--json', metavar='FILE', help='write the figures there')
    parser.add_argument('--measure', nargs=2, metavar=('FILE', 'TYPE'), help='measure one type in this process')
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure, args.images, args.workers)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'annotations.json'
        write_annotations(path, args.images, args.boxes)
        print(f'{args.images} images x {args.boxes} boxes ({path.stat().st_size / 2**20:.0f} MiB of JSON), '
              f'{args.workers} workers')
        rows = []
        for kind in DATASET_TYPES:
            command = [sys.executable, __file__, '--images', str(args.images), '--workers', str(args.workers),
                       '--measure', str(path), kind]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print('{type:>10}: {worker:7.1f} MiB added per worker, {all_workers:8.1f} MiB in all workers, '
                  '{main:7.1f} MiB in the main process after reading, which took {seconds:.1f} s'.format(**rows[-1]),
                  flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
