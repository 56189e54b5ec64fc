"""Streams of JSON files: the same values as json.load, in pieces; errors say where."""
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskforge.formats import json_stream
from maskforge.formats.json_stream import Elements, stream_json, write_json_stream

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner,
                                                                                  max_size=4), max_leaves=12)


def read(path):
    return {key: list(value) if isinstance(value, Elements) else value for key, value in stream_json(path)}


@settings(max_examples=60, deadline=None)
@given(data=st.dictionaries(st.text(max_size=4), VALUES, max_size=5), size=st.integers(1, 40),
       indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_equals_json(tmp_path_factory, data, size, indent, ascii_only):
    path = tmp_path_factory.mktemp('stream') / 'a.json'
    path.write_text(json.dumps(data, indent=indent, ensure_ascii=ascii_only), encoding='utf-8')
    before, json_stream._READ = json_stream._READ, size
    try:
        assert read(path) == data
    finally:
        json_stream._READ = before


def test_reads_little_of_a_large_list(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(dict(first=[dict(n=n) for n in range(200_000)], last=5)))
    for key, value in stream_json(path):
        if key == 'first':
            assert next(iter(value)) == dict(n=0)
            assert value._reader.file.buffer.tell() < 200_000  # of some 2.4 million bytes
        else:
            assert (key, value) == ('last', 5)


def test_a_bare_list_has_no_key(tmp_path):
    (tmp_path / 'a.json').write_text(' [1, {"a": 2}] ')
    assert read(tmp_path / 'a.json') == {None: [1, {'a': 2}]}


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'an object .* is missing near character 0'),
    ('{"a": [1, 2', 'was cut off'),
    ('{"a": [{"b": "c', 'was cut off'),
    ('{"a": [1 2]}', r"',' or '\]' is missing near character 9; correct the text"),
    ('{"a" 1}', "':' is missing near character 5"),
    ('{"a": nix}', 'Expecting value near character 6'),
    ('7', 'an object'),
])
def test_broken_files(tmp_path, text, message):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / 'a.json')


def test_not_utf8(tmp_path):
    (tmp_path / 'a.json').write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(ValueError, match='not UTF-8'):
        read(tmp_path / 'a.json')


def test_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / 'boxes.json').touch()
    with pytest.raises(FileNotFoundError, match=r'did you mean boxes\.json'):
        read(tmp_path / 'boxs.json')


def test_writes_iterators_as_lists_and_leaves_no_half_file(tmp_path):
    path = tmp_path / 'out.json'
    write_json_stream(path, iter([('é', iter([1, {'ü': None}])), ('b', {'c': []}), ('d', iter([]))]))
    assert json.loads(path.read_text(encoding='utf-8')) == {'é': [1, {'ü': None}], 'b': {'c': []}, 'd': []}

    def breaks():
        yield 1
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_json_stream(path, [('a', breaks())])
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ['out.json']
