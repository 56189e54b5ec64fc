"""``maskforge encrypt IN OUT``."""
import argparse
import sys

from .arguments import add_key_file, add_output_key, output_key
from .errors import run_verb


def parser() -> argparse.ArgumentParser:
    """Which file, and what becomes of it."""
    parser = argparse.ArgumentParser(prog='maskforge encrypt', description=(
        'Encrypt a file (a checkpoint, an ONNX file, any other), decrypt it for other programs, or change its key. '
        'The contents stay the same to the bit.'))
    parser.add_argument('file', metavar='IN', help='a file, encrypted or not')
    parser.add_argument('out', metavar='OUT', help='the file to write; IN itself is allowed')
    add_key_file(parser, writes='plain files')
    add_output_key(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the file; return the exit code."""
    return run_verb(parser(), _encrypt, argv)


def _encrypt(args: argparse.Namespace) -> int:
    from maskforge.checkpoints.encryption_key import HOW_HERE, MissingKeyError
    from maskforge.checkpoints.reencrypt import reencrypt
    key = output_key(args)
    if key is None and not args.decrypt:
        raise MissingKeyError(f'there is no key to encrypt {args.file} with: give it by {HOW_HERE}.')
    print(f'{reencrypt(args.file, args.out, key=key)} written{"" if key else ", not encrypted"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
