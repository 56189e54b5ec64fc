"""``maskforge publish IN OUT``."""
import argparse
import sys

from .arguments import add_key_file, add_output_key, output_key
from .errors import run_verb


def parser() -> argparse.ArgumentParser:
    """Which checkpoint, under which name."""
    parser = argparse.ArgumentParser(prog='maskforge publish', description='Strip a checkpoint to its weights and its '
                                     'meta data, and put the start of its sha256 into its name.')
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='name to build on, ending in .pth or .safetensors (weights alone)')
    parser.add_argument('--format', choices=('pth', 'safetensors'), help="in place of out's ending")
    parser.add_argument('--layout', metavar='NAME', help='write the names of another library, such as '
                        'OfficialSAM2Layout; a wrong name lists those of the model')
    add_key_file(parser, writes='published files')
    add_output_key(parser)
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
    path = publish(args.checkpoint, _named(args.out, args.format), layout=args.layout, model=model,
                   key=output_key(args))
    print(f'{path} written')
    return 0


def _named(out: str, kind: str | None) -> str:
    return out if kind is None else f'{out.removesuffix(".pth").removesuffix(".safetensors")}.{kind}'


if __name__ == '__main__':
    sys.exit(main())
