"""Colours of classes by name."""
import pytest

from maskforge.visualization import read_color_map


@pytest.mark.parametrize(('color', 'expected'), [
    ('red', (255, 0, 0)), ('#0a141e', (10, 20, 30)), ([1, 2, 3], (1, 2, 3)), ('rgb(4, 5, 6)', (4, 5, 6))])
def test_colors(color, expected):
    assert read_color_map({'dog': color}, ('cat', 'dog')) == {1: expected}


@pytest.mark.parametrize(('colors', 'message'), [
    ({'dgo': 'red'}, "'dgo', which is no class of the model; did you mean dog"),
    ({'horse': 'red'}, 'the classes are cat, dog'),
    ({'dog': 'rde'}, r"color_map\['dog'\]='rde' is not a colour name"),
    ({'dog': (0, 0, 256)}, r'is not \(r, g, b\) in 0 \.\. 255'),
])
def test_mistakes(colors, message):
    with pytest.raises(ValueError, match=message):
        read_color_map(colors, ('cat', 'dog'))
