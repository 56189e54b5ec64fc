"""``maskforge check-data ANNOTATIONS.json``."""
import argparse
import sys
from collections import Counter

from .errors import run_verb


def parser() -> argparse.ArgumentParser:
    """The file, and where its images are."""
    parser = argparse.ArgumentParser(prog='maskforge check-data', description='List every defect of a COCO instance '
                                     'file with its record. The exit code is 1 when training would refuse something.')
    parser.add_argument('annotations', help='COCO JSON')
    parser.add_argument('--images', '--image-dir', metavar='DIR', help='folder of the images: they are looked up, and '
                        'their sizes compared with the records')
    parser.add_argument('--max-lines', type=int, metavar='N', help='print only the first N defects')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Check; return the exit code."""
    return run_verb(parser(), _check, argv)


def _check(args: argparse.Namespace) -> int:
    from maskforge.datasets.converters import check_coco
    defects = check_coco(args.annotations, image_dir=args.images)
    for defect in defects[:args.max_lines]:
        print(f'{defect.severity}: {defect}')
    counts = Counter(defect.severity for defect in defects)
    print(', '.join(f'{count} of severity {name}' for name, count in counts.items()) or
          f'{args.annotations}: no defect found')
    return 1 if counts['fatal'] or counts['error'] else 0


if __name__ == '__main__':
    sys.exit(main())
