import numpy as np
import pytest

from maskforge.visualization import class_colors, distinct_color


def test_colours_are_stable_and_distinct():
    colors = class_colors(None, 80)
    assert colors[:5] == class_colors('random', 5) == [distinct_color(index) for index in range(5)]
    distances = np.linalg.norm(np.array(colors)[:20, None].astype(float) - np.array(colors)[None, :20], axis=2)
    assert distances[~np.eye(20, dtype=bool)].min() > 20
    assert len(set(colors)) == 80


@pytest.mark.parametrize(('palette', 'count', 'expected'), [
    ([(1, 2, 3), (4, 5, 6)], 2, [(1, 2, 3), (4, 5, 6)]),
    ((1, 2, 3), 2, [(1, 2, 3), (1, 2, 3)]),
    ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 2, [(1, 2, 3), (4, 5, 6)]),
    ([(1, 2, 3)], 2, [(1, 2, 3), distinct_color(1)]),
    ([], 1, [distinct_color(0)]),
])
def test_palettes(palette, count, expected):
    assert class_colors(palette, count) == expected


@pytest.mark.parametrize(('palette', 'text'), [
    ('coco', "palette='coco' is not known"),
    ([(1, 2, 300)], r'palette\[0\]=\(1, 2, 300\)'),
    ([(1, 2, 3), (1, 2)], r'palette\[1\]'),
])
def test_wrong_palettes(palette, text):
    with pytest.raises(ValueError, match=text):
        class_colors(palette, 2)
