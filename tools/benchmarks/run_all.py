"""Run all benchmarks one after the other and join their tables.

    python tools/benchmarks/run_all.py --markdown all.md --output-dir all
    python tools/benchmarks/run_all.py --quick --clock cpu

``--quick`` takes the smallest sizes and few rounds: it shows that everything runs and agrees, its ratios say little.
"""
import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark_arguments import CLOCKS

from maskforge.analysis.ratio_table import RatioTable, join_tables

#: script -> its arguments in a quick run
RATIOS = {
    'import_time': ['--rounds', '2'],
    'data_loading': ['--images', '4', '--rounds', '1'],
    'evaluation_time': ['--images', '20', '--panoptic-size', '240', '--frames', '5', '--rounds', '1'],
    'mask_rcnn_step': ['--size', '128', '192', '--rounds', '1'],
    'deformable_detr': ['--size', '128', '160', '--rounds', '1'],
    'mask2former': ['--size', '128', '160', '--rounds', '1'],
    'deformable_attention': ['--size', '128', '160', '--rounds', '1'],
    'mean_field': ['--rounds', '1'],
    'sam2_video': ['--size', '256', '--frames', '3', '--rounds', '1'],
    'sam2_losses': ['--size', '256', '--corrections', '1', '--rounds', '1'],
    'sam2_step': ['--size', '256', '--rounds', '1'],
}
#: those that have no peer
OTHERS = {'annotation_memory': ['--images', '2000', '--workers', '2'],
          'cost_growth': ['--quick', '--rounds', '1', '--axis', 'side', 'frames']}


def run(script: str, arguments: list[str]) -> bool:
    """Run one benchmark in a process of its own; whether it succeeded."""
    start = time.perf_counter()
    print(f'\n== {script}', flush=True)
    command = [sys.executable, str(Path(__file__).with_name(f'{script}.py')), *arguments]
    code = subprocess.run(command, check=False).returncode
    print(f'{script}: {"failed" if code else "done"} after {time.perf_counter() - start:.0f} s', flush=True)
    return not code


def outputs(script: str, folder: Path) -> list[str]:
    """Where a benchmark writes its figures."""
    if script == 'cost_growth':
        return ['--output-dir', str(folder / script)]
    markdown = ['--markdown', str(folder / f'{script}.md')] if script in RATIOS else []
    return ['--json', str(folder / f'{script}.json'), *markdown]


def measured(args: argparse.Namespace) -> list[str]:
    """What all that have a peer are told."""
    return ['--clock', args.clock, *(['--rounds', str(args.rounds)] if args.rounds else [])]


def main() -> int:
    """Run and join; the exit code is the number of benchmarks that failed."""
    known = {**RATIOS, **OTHERS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output-dir', type=Path, help='keep the figures of every benchmark there')
    parser.add_argument('--markdown', metavar='FILE', help='write the one table of all ratios there')
    parser.add_argument('--json', metavar='FILE', help='and its figures there')
    parser.add_argument('--quick', action='store_true', help='smallest sizes, few rounds')
    parser.add_argument('--rounds', type=int, help='measurements of each side (what each script takes by itself)')
    parser.add_argument('--clock', choices=CLOCKS, default='wall', help='of the ratios (wall)')
    parser.add_argument('--only', nargs='+', metavar='SCRIPT', choices=known, default=list(known),
                        help=f'of {", ".join(known)}')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.output_dir or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        done = {script: run(script, [*(known[script] if args.quick else []), *outputs(script, folder),
                                     *(measured(args) if script in RATIOS else [])]) for script in args.only}
        tables = [RatioTable.read(folder / f'{script}.json') for script in RATIOS if done.get(script)]
    table = join_tables('All benchmarks', tables)
    print(f'\n{table.text()}')
    table.write(json_file=args.json, markdown_file=args.markdown)
    failed = [script for script, succeeded in done.items() if not succeeded]
    if failed:
        print(f'failed: {", ".join(failed)}')
    return len(failed)


if __name__ == '__main__':
    sys.exit(main())
