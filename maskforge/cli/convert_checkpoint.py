"""``maskforge convert-checkpoint IN OUT``."""
import argparse
import sys
from pathlib import Path

from .arguments import add_key_file
from .errors import run_verb


def parser() -> argparse.ArgumentParser:
    """From where to where, and in how many parts."""
    parser = argparse.ArgumentParser(
        prog='maskforge convert-checkpoint', description='Turn a checkpoint in parts (a folder, as '
        "strategy=dict(type='FSDP2Strategy', checkpoint='sharded') writes it) into one file, or a file into parts. "
        'Everything that a run needs to continue stays.')
    parser.add_argument('checkpoint', metavar='IN', help='a file, or the folder of a checkpoint in parts')
    parser.add_argument('out', metavar='OUT', help='the file to write (.pth), or the folder if --parts is given')
    parser.add_argument('--parts', type=int, metavar='N', help='write a folder with this many parts')
    add_key_file(parser, writes='written files')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the other form; return the exit code."""
    return run_verb(parser(), _convert, argv)


def _convert(args: argparse.Namespace) -> int:
    from maskforge.checkpoints import load_checkpoint, save_checkpoint
    from maskforge.checkpoints.sharded_checkpoint import divide_checkpoint
    out = Path(args.out)
    if out.exists():
        raise ValueError(f'{out} is there already: remove it, or name another place.')
    if args.parts is None and out.suffix != '.pth':
        raise ValueError(f'OUT={out} must end in .pth, or --parts N must say in how many parts a folder is written.')
    checkpoint = load_checkpoint(args.checkpoint)
    path = save_checkpoint(checkpoint, out) if args.parts is None else divide_checkpoint(checkpoint, out, args.parts)
    print(f'{path} written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
