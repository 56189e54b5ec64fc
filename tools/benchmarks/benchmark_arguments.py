"""The arguments that all benchmarks share."""
import argparse

from maskforge.analysis.ratio_table import RatioTable


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with ``--rounds``, ``--json`` and ``--markdown``."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument('--rounds', type=int, default=rounds, help=f'measurements of each side, in turns ({rounds})')
    found.add_argument('--json', metavar='FILE', help='write the figures there')
    found.add_argument('--markdown', metavar='FILE', help='write the table there')
    return found


def finish(table: RatioTable, args: argparse.Namespace) -> int:
    """Print the table and write the files that were asked for; return the exit code."""
    print(table.text())
    table.write(json_file=args.json, markdown_file=args.markdown)
    return 0
