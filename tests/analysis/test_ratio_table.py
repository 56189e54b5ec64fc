"""Timing in turns, and the table of ratios."""
import json

import pytest

from maskforge.analysis.ratio_table import (
    Comparison,
    RatioTable,
    compare_memory,
    compare_seconds,
    join_tables,
    time_in_turns,
)


def test_sides_take_turns():
    calls = []
    seconds = time_in_turns({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, rounds=3, warmup=1)
    assert calls == ['a', 'b'] * 4
    assert {name: len(values) for name, values in seconds.items()} == {'a': 3, 'b': 3}
    with pytest.raises(ValueError, match='rounds=0'):
        time_in_turns({}, rounds=0)


def test_another_clock():
    ticks = iter(range(100))
    assert time_in_turns({'a': lambda: None}, rounds=2, clock=lambda: float(next(ticks))) == {'a': [1., 1.]}


@pytest.mark.parametrize('images, ours, peer, unit, ratio', [
    (None, 2.0, 4.0, 's', 2.0), (8, 4.0, 2.0, 'images/s', 2.0)])
def test_a_ratio_above_one_means_faster(images, ours, peer, unit, ratio):
    row = compare_seconds('x', dict(ours=[2.0, 2.0, 9.0], theirs=[4.0, 4.0, 4.0]), ours='ours', peer='theirs',
                          images=images)
    assert (row.ours, row.peer, row.unit, row.ratio) == (ours, peer, unit, ratio)
    assert row.spread > 0


def test_less_memory_is_better():
    row = compare_memory('x', dict(ours=10., theirs=25.), ours='ours', peer='theirs')
    assert (row.unit, row.ratio) == ('MiB', 2.5)


def test_table_as_text_markdown_and_json(tmp_path):
    table = RatioTable('Speed', 'a machine', [Comparison('step', 's', 1.0, 1.5, 'torchvision', 0.05, note='equal')])
    assert '1.50x' in table.text() and 'a machine' in table.text()
    table.write(json_file=tmp_path / 'x.json', markdown_file=tmp_path / 'x.md')
    assert json.loads((tmp_path / 'x.json').read_text())['rows'][0]['ratio'] == 1.5
    assert '| step | 1 | 1.5 | s | 1.50x | ±5 % | torchvision | equal |' in (tmp_path / 'x.md').read_text()


def test_tables_are_joined(tmp_path):
    tables = [RatioTable(name, 'a machine', [Comparison('step', 's', 1.0, 1.5, 'torchvision', 0.05)])
              for name in ('one', 'two')]
    tables[0].write(json_file=tmp_path / 'x.json')
    joined = join_tables('all', [RatioTable.read(tmp_path / 'x.json'), tables[1]])
    assert [row.task for row in joined.rows] == ['one: step', 'two: step']
    assert (joined.machine, joined.rows[0].ratio) == ('a machine', 1.5)
