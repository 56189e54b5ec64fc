"""Ways to spoil a file, drawn by hypothesis: bytes, and nodes of JSON."""
import copy
import json

from hypothesis import strategies as st

# what a script, an editor or another tool may have left in a place where something else belongs
ODD_VALUES = (None, True, False, 0, -1, 1.5, -1e9, 1e300, float('nan'), float('inf'), 2**31, 2**63, 2**70, -2**70, '',
              'a', '1', '\ud800', [], {}, [[]], [None], {'a': 1}, [1, 'a'], [[1, 2], [3]], '../../x', 'a\0b')
ENCODINGS = ('utf-16', 'utf-8-sig', 'latin-1', 'cp037')


def _paths(node, path=()):
    """Every place in a JSON value, the whole of it first."""
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


def _replace(data, path, value):
    """A copy with another value in one place."""
    if not path:
        return value
    data = copy.deepcopy(data)
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return data


def _remove(data, path):
    data = copy.deepcopy(data)
    node = data
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return data


def _at(data, path):
    for key in path:
        data = data[key]
    return data


@st.composite
def spoiled_json(draw, data):
    """The bytes of a JSON file with one to three things wrong with it."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_paths(data))))
        kind = draw(st.sampled_from(('value', 'value', 'value', 'remove', 'wrap', 'twice', 'swap', 'rename', 'text')))
        node = _at(data, path)
        if kind == 'value':
            data = _replace(data, path, draw(st.sampled_from(ODD_VALUES)))
        elif kind == 'remove' and path:
            data = _remove(data, path)
        elif kind == 'wrap':
            data = _replace(data, path, [node] if draw(st.booleans()) else {'0': node})
        elif kind == 'twice' and isinstance(node, list):
            data = _replace(data, path, node + node)
        elif kind == 'swap':
            data = _replace(data, path, _at(data, draw(st.sampled_from(list(_paths(data))))))
        elif kind == 'rename' and isinstance(node, dict) and node:
            key = draw(st.sampled_from(sorted(node)))
            data = _replace(data, path, {f'{key}s' if name == key else name: value for name, value in node.items()})
        elif kind == 'text' and isinstance(node, (int, float)):
            data = _replace(data, path, str(node))
    return json.dumps(data).encode()


@st.composite
def odd_node(draw, data):
    """A nested value with something else in one place, or without it."""
    path = draw(st.sampled_from(list(_paths(data))))
    if path and draw(st.booleans()):
        return _remove(data, path)
    return _replace(data, path, draw(st.sampled_from(ODD_VALUES)))


@st.composite
def spoiled_bytes(draw, content):
    """The bytes of a file after a bad copy: cut, flipped, doubled, in another encoding, nested without end."""
    kind = draw(st.sampled_from(('cut', 'flip', 'flip', 'insert', 'encode', 'zero', 'nest', 'lines', 'empty')))
    place = draw(st.integers(0, max(len(content) - 1, 0)))
    if kind == 'cut':
        return content[:place]
    if kind == 'flip':
        changed = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            changed[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(changed)
    if kind == 'insert':
        return content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place:]
    if kind == 'encode':
        return content.decode('latin-1').encode(draw(st.sampled_from(ENCODINGS)))
    if kind == 'zero':
        return content[:place] + bytes(len(content) - place)
    if kind == 'nest':
        return content[:place] + b'[' * 100_000 + content[place:]
    if kind == 'lines':
        return content[:place] + b'\r' + content[place:] + content
    return b''


def spoiled(data):
    """A JSON file that is wrong in its content or in its bytes."""
    return st.one_of(spoiled_json(data), spoiled_json(data), spoiled_bytes(json.dumps(data).encode()))
