"""How long ``import maskforge`` takes beyond ``import torch``: python tools/benchmarks/import_time.py"""
import subprocess
import sys

from benchmark_arguments import finish, parser

from maskforge.analysis.ratio_table import Comparison, RatioTable, compare_seconds, machine_line, time_in_turns


def run(statement: str) -> None:
    """Run one statement in a fresh interpreter."""
    subprocess.run([sys.executable, '-c', statement], check=True)


def main() -> int:
    """Measure and print."""
    args = parser(__doc__, rounds=7).parse_args()
    seconds = time_in_turns({'import torch, maskforge': lambda: run('import torch, maskforge'),
                             'import torch': lambda: run('import torch'),
                             'import maskforge.registry': lambda: run('import torch, maskforge.registry')},
                            rounds=args.rounds)
    row = compare_seconds('import torch, maskforge', seconds, ours='import torch, maskforge', peer='import torch')
    extra = row.ours - row.peer
    registry = compare_seconds('with maskforge.registry', seconds, ours='import maskforge.registry',
                               peer='import torch')
    rows = [Comparison(**{**row.__dict__, 'note': f'beyond torch: {extra:+.3f} s'}),
            Comparison(**{**registry.__dict__, 'note': f'beyond torch: {registry.ours - registry.peer:+.3f} s'})]
    code = finish(RatioTable('Import time', machine_line(), rows), args)
    if extra > 0.3:
        print(f'import maskforge costs {extra:.3f} s beyond torch; the house allows 0.3 s')
        code = 1
    return code


if __name__ == '__main__':
    sys.exit(main())
