"""Arguments made from signatures."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from maskforge.cli.convert import main as convert
from maskforge.cli.convert import names_or_file
from maskforge.cli.function_arguments import add_function_arguments, argument_help, function_values


def work(
    source: str | Path,
    many: Sequence[int],
    *,
    out: Path = Path('x'),
    size: float = 1.5,
    count: int | None = None,
    names: Sequence[str] | str | None = None,
    draw: bool = True,
    fast: bool = False,
    shape: tuple = (3, 4),
) -> None:
    """Work.

    Args:
        source: where it
            comes from, 100 %.
        size, count: numbers.
        draw: with pictures.
    """


@pytest.mark.parametrize(
    ('argv', 'expected'),
    [
        (
            ['a', '1', '2'],
            dict(
                source='a',
                many=[1, 2],
                out=Path('x'),
                size=1.5,
                count=None,
                names=None,
                draw=True,
                fast=False,
                shape=(3, 4),
            ),
        ),
        (
            [
                'a',
                '1',
                '--out',
                'y',
                '--size',
                '2',
                '--count',
                '3',
                '--names',
                'b',
                'c',
                '--no-draw',
                '--fast',
                '--shape',
                '5',
            ],
            dict(
                source='a',
                many=[1],
                out=Path('y'),
                size=2.0,
                count=3,
                names=['b', 'c'],
                draw=False,
                fast=True,
                shape=[5],
            ),
        ),
    ],
)
def test_values(argv, expected):
    parser = argparse.ArgumentParser()
    add_function_arguments(parser, work)
    assert function_values(parser.parse_args(argv), work) == expected
    assert 'comes from, 100 %' in ' '.join(parser.format_help().split())


def test_help():
    assert argument_help(work) == dict(
        source='where it comes from, 100 %.', size='numbers.', count='numbers.', draw='with pictures.'
    )


def test_convert(tmp_path, capsys):
    (tmp_path / 'names.txt').write_text('a\n')
    assert names_or_file([str(tmp_path / 'names.txt')]) == str(tmp_path / 'names.txt')
    assert names_or_file(['a', 'b']) == ['a', 'b']
    assert convert(['voc', str(tmp_path / 'gone'), 'x.json']) == 2
    assert 'maskforge: error:' in capsys.readouterr().err
