"""``maskforge convert FORMAT SOURCE OUTPUT``."""
import argparse
import sys
from pathlib import Path
from typing import Any

from .errors import run_verb
from .function_arguments import add_function_arguments, function_values
from .lazy_function import LazyFunction

FORMATS = {'via': 'VIA polygons (balloon)', 'voc': 'Pascal VOC XML', 'labelme': 'LabelMe JSON',
           'yolo': 'YOLO boxes or polygons', 'cityscapes': 'Cityscapes', 'kitti': 'KITTI label folders, in shards',
           'ade20k': 'ADE20K folders of images and masks, to a JSONL list',
           'sav_frames': 'video files (SA-V) to folders of frames'}
_SKIPPED_SHOWN = 20


def parser() -> argparse.ArgumentParser:
    """One sub-command per format, with the options of its ``convert`` function."""
    parser = argparse.ArgumentParser(prog='maskforge convert',
                                     description='Bring annotations into a format that a data set reads.')
    formats = parser.add_subparsers(dest='format', required=True, metavar='FORMAT')
    for name, text in FORMATS.items():
        function = _converter(name)
        description = ' '.join((function.__doc__ or text).split('Args:')[0].replace('`', '').split())
        add_function_arguments(formats.add_parser(name, help=text, description=description), function)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Convert; return the exit code."""
    return run_verb(parser(), _convert, argv)


def _convert(args: argparse.Namespace) -> int:
    function = _converter(args.format)
    values = function_values(args, function)
    values['classes'] = names_or_file(values.get('classes'))
    if values['classes'] is None:
        values.pop('classes')
    done = function(**values)
    for line in done.skipped[:_SKIPPED_SHOWN]:
        print(f'left out: {line}', file=sys.stderr)
    if len(done.skipped) > _SKIPPED_SHOWN:
        print(f'... and {len(done.skipped) - _SKIPPED_SHOWN} more', file=sys.stderr)
    print(done)
    return 0


def _converter(name: str) -> LazyFunction:
    return LazyFunction(f'maskforge.datasets.converters.{name}', 'convert')


def names_or_file(classes: Any) -> Any:
    """Class names as they are; one name that is a file (``data.yaml``) as its path."""
    if isinstance(classes, list) and len(classes) == 1 and Path(classes[0]).is_file():
        return classes[0]
    return classes


if __name__ == '__main__':
    sys.exit(main())
