"""What a GPU is for: deformable attention, the mean field, and training steps with and without torch.compile.

    python tools/benchmarks/gpu.py --output-dir gpu          at most eight minutes
    python tools/benchmarks/gpu.py --device cpu --small      shows that everything runs

Every part runs in a process of its own for at most its share of the time; what one of them could not finish is said,
and the others go on. The joined table is ``all.md`` and ``all.json`` in the folder.
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from maskforge.analysis.ratio_table import RatioTable, join_tables

FAMILIES = ('Deformable DETR', 'Mask2Former', 'MAL', 'SAM 2', 'Mask R-CNN')
DTYPES = ('float32', 'bfloat16')


def planned(device: str, *, small: bool) -> dict[str, tuple[list[str], int]]:
    """Command and most seconds of every part."""
    sizes = ['64', '96'] if small else ['512', '512', '800', '1333']
    dtypes = DTYPES if device == 'cuda' else DTYPES[:1]  # few CPUs are made for the other
    found = {f'deformable_attention_{dtype}': (
        ['deformable_attention.py', '--device', device, '--dtype', dtype, '--size', *sizes, '--rounds', '3'], 45)
        for dtype in dtypes}
    found['mean_field'] = (['mean_field.py', '--device', device, *(['--crops', '1', '--side', '32'] if small else [])],
                           20)
    backend = ['--small', '--rounds', '1', '--backend', 'eager'] if small else []
    for family in FAMILIES:
        found[f'step_{family.lower().replace(" ", "_")}'] = (
            ['training_steps.py', '--device', device, '--families', family, '--dtype', *dtypes, *backend], 72)
    return found


def run(name: str, command: list[str], limit: int, folder: Path) -> RatioTable | None:
    """One part; its table, or None where it failed or took too long."""
    start, script = time.perf_counter(), str(Path(__file__).with_name(command[0]))
    print(f'\n== {name}', flush=True)
    try:
        done = subprocess.run([sys.executable, script, *command[1:], '--json', str(folder / f'{name}.json')],
                              check=False, timeout=limit)
        problem = f'failed with exit code {done.returncode}' if done.returncode else ''
    except subprocess.TimeoutExpired:
        problem = f'did not end within {limit} s'
    print(f'{name}: {problem or "done"} after {time.perf_counter() - start:.0f} s', flush=True)
    return None if problem else RatioTable.read(folder / f'{name}.json')


def main() -> int:
    """Run and join; the exit code is the number of parts that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output-dir', type=Path, default=Path('gpu_benchmarks'), help='(gpu_benchmarks)')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument('--small', action='store_true', help='small sizes: it shows that everything runs')
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('this machine has no GPU that PyTorch can use; --device cpu --small shows that everything runs')
    args.output_dir.mkdir(parents=True, exist_ok=True)
    parts = planned(args.device, small=args.small)
    tables = {name: run(name, command, limit * (10 if args.small else 1), args.output_dir)
              for name, (command, limit) in parts.items()}
    table = join_tables('On a GPU' if args.device == 'cuda' else 'On a CPU', [one for one in tables.values() if one])
    print(f'\n{table.text()}')
    table.write(json_file=args.output_dir / 'all.json', markdown_file=args.output_dir / 'all.md')
    return sum(one is None for one in tables.values())


if __name__ == '__main__':
    sys.exit(main())
