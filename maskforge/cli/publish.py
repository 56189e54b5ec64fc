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
    parser.add_argument('--layout', metavar='NAME', help='write the names of another library, such as '
                        'OfficialSAM2Layout; a wrong name lists those of the model')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the file; return the exit code."""
    return run_verb(parser(), _publish, argv)


def _publish(args: argparse.Namespace) -> int:
    from maskforge.checkpoints.publish import publish
    model = None
    if args.layout is not None:
        from maskforge.inference.load_model import load_model
        model, _ = load_model(args.checkpoint, device='cpu')
    print(f'{publish(args.checkpoint, args.out, layout=args.layout, model=model)} written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
