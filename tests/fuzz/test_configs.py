"""Configs that went bad: loaded and judged, or refused with the file."""
import json

import pytest
from commands import TOY
from fuzzing import fuzz, works_or_tells
from hypothesis import given
from hypothesis import strategies as st
from mutations import spoiled, spoiled_bytes

from maskforge.config import check_keys, lint_config, load_config


@pytest.fixture(scope='module')
def plain():
    """A whole config as JSON holds it."""
    return json.loads(json.dumps(load_config(TOY).to_dict(), default=str))


def _judge(path):
    """What training does before it builds anything; findings name their keys by themselves."""
    cfg = load_config(path)
    for finding in [*check_keys(cfg), *lint_config(cfg)]:
        assert finding.key and finding.message


@fuzz
@given(data=st.data())
def test_json(plain, data, tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'spoiled.json'
    path.write_bytes(data.draw(spoiled(plain)))
    works_or_tells(lambda: _judge(path), 'spoiled.json')


@fuzz
@given(data=st.data())
def test_python(data, tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'spoiled.py'
    text = TOY.read_text().replace('../../configs', str(TOY.parents[2] / 'configs'))
    path.write_bytes(data.draw(spoiled_bytes(text.encode())))
    works_or_tells(lambda: _judge(path), 'spoiled.py')


@fuzz
@given(data=st.data())
def test_options(data):
    key = data.draw(st.text('abm_.0-=[] \'"', max_size=12))
    value = data.draw(st.text('ab1.e,()[]{}:\'"= -\\\0', max_size=16))
    option = f'{key}={value}'
    works_or_tells(lambda: load_config(TOY, options=[option]), 'option')
