"""``maskforge publish IN OUT``."""
import argparse
import sys

from .errors import run_verb


def parser() -> argparse.ArgumentParser:
    """Which checkpoint, under which name."""
    parser = argparse.ArgumentParser(prog='maskforge publish', description='Strip a checkpoint to its weights and its '
                                     'meta data, and put the start of its sha256 into its name.')
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='name to build on, ending in .pth or .safetensors')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the file; return the exit code."""
    return run_verb(parser(), _publish, argv)


def _publish(args: argparse.Namespace) -> int:
    from maskforge.checkpoints.publish import publish
    print(f'{publish(args.checkpoint, args.out)} written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
