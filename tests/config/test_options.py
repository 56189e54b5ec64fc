"""Typing of --cfg-options."""

import math

import pytest

from maskforge.config.options import merge_dicts, merge_options, parse_options, parse_value


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('1', 1),
        ('-5', -5),
        ('1_000', 1000),
        ('0x10', 16),
        ('0b101', 5),
        ('-0x10', -16),
        ('007', 7),
        ('1e-4', 1e-4),
        ('1.', 1.0),
        ('inf', math.inf),
        ('true', True),
        ('False', False),
        ('none', None),
        ('null', None),
        ('None', None),
        ('', ''),
        ('""', ''),
        ('"1"', '1'),
        ("'none'", 'none'),
        ('r50', 'r50'),
        ('a b', 'a b'),
        (' x ', 'x'),
        ('1,2', [1, 2]),
        ('1,', [1]),
        ('a,b', ['a', 'b']),
        ('[1, 2]', [1, 2]),
        ('(1,2)', (1, 2)),
        ('(1)', (1,)),
        ('[]', []),
        ('()', ()),
        ('{}', {}),
        ('dict()', {}),
        ('["1","2"]', ['1', '2']),
        ('[(1333,800),(1333,640)]', [(1333, 800), (1333, 640)]),
        ('[[1],[2,[3]]]', [[1], [2, [3]]]),
        ('{"x":1}', {'x': 1}),
        ('{x: {y: none}}', {'x': {'y': None}}),
        ('dict(x=1, y=[a,(2,)])', {'x': 1, 'y': ['a', (2,)]}),
        ("dict(type='SGD', lr=0x1)", {'type': 'SGD', 'lr': 1}),
        ('{1: a}', {1: 'a'}),
        ('http://host:80/a=b?c', 'http://host:80/a=b?c'),
        ('img(1).jpg', 'img(1).jpg'),
        ('(a)b', '(a)b'),
        ('"a,b"', 'a,b'),
        ('"say \\"x\\""', 'say "x"'),
        ('C:\\data\\x', 'C:\\data\\x'),
        ('0x', '0x'),
    ],
)
def test_value(text, expected):
    value = parse_value(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[1', r"unbalanced bracket: '\]' is missing"),
        ('1]', r"unbalanced bracket '\]'"),
        ('(1,[2)', 'unbalanced bracket'),
        ('foo(', 'quote the value'),
        ('{"a":1', 'unbalanced bracket'),
        ('"a', 'never closed'),
        ('[1,,2]', 'empty element'),
        (',', 'empty element'),
        ('1e400', 'too large for a float'),
        ('{a}', 'a dict needs key:value'),
        ('dict(1)', 'a dict needs key=value'),
    ],
)
def test_bad_value(text, message):
    with pytest.raises(ValueError, match=message):
        parse_value(text)


def test_options():
    assert parse_options(['a.b=1', 'c=x=y', 'a.b=2']) == {'a.b': 2, 'c': 'x=y'}
    with pytest.raises(ValueError, match='has no "="'):
        parse_options(['a.b'])
    with pytest.raises(ValueError, match='empty part'):
        parse_options(['a..b=1'])
    with pytest.raises(ValueError, match=r"option 'a=\[1': unbalanced"):
        parse_options(['a=[1'])


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'model.l.0.k': 5}, dict(model=dict(l=[dict(k=5), 2], t=(1, 2)), n=None, x=1)),
        ({'model.l.-1': 9}, dict(model=dict(l=[dict(k=1), 9], t=(1, 2)), n=None, x=1)),
        ({'model.t.1': 9}, dict(model=dict(l=[dict(k=1), 2], t=(1, 9)), n=None, x=1)),
        ({'n.a.b': 1}, dict(model=dict(l=[dict(k=1), 2], t=(1, 2)), n=dict(a=dict(b=1)), x=1)),
        ({'model': dict(t=0)}, dict(model=dict(l=[dict(k=1), 2], t=0), n=None, x=1)),
        ({'model': dict(_delete_=True, t=0)}, dict(model=dict(t=0), n=None, x=1)),
    ],
)
def test_merge_options(options, expected):
    values = dict(model=dict(l=[dict(k=1), 2], t=(1, 2)), n=None, x=1)
    merge_options(values, options)
    assert values == expected


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'l.2': 1}, KeyError, "option 'l.2': index 2 is beyond the list, which has 2 items"),
        ({'l.a': 1}, KeyError, "'a' indexes a list of 2"),
        ({'x.y': 1}, TypeError, "cannot set 'y' inside 1"),
    ],
)
def test_bad_merge(options, error, message):
    with pytest.raises(error, match=message):
        merge_options(dict(l=[1, 2], x=1), options)


def test_merge_dicts():
    assert merge_dicts(dict(a=dict(x=1), b=2), dict(a=dict(y=2))) == dict(a=dict(x=1, y=2), b=2)
    assert merge_dicts(dict(a=dict(x=1)), dict(a=dict(_delete_=True, y=2))) == dict(a=dict(y=2))
    assert merge_dicts(dict(a=None), dict(a=dict(y=dict(_delete_=True, z=1)))) == dict(a=dict(y=dict(z=1)))
    with pytest.raises(TypeError, match="'a' is a dict here but 1"):
        merge_dicts(dict(a=1), dict(a=dict(y=2)))
