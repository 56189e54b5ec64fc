import numpy as np
import pytest

from maskforge.visualization import label_text
from maskforge.visualization.label_text import font_for, text_box


@pytest.mark.parametrize('text', ['cat 0.98', 'größe', 'кот', 'γάτα', 'a b'])
def test_font_covers_european_scripts(text):
    assert font_for(text) is not None


def test_unknown_characters_have_no_font(monkeypatch):
    shipped = label_text._font_files()[:1]
    monkeypatch.setattr(label_text, '_font_files', lambda: shipped)
    assert font_for('猫') is None


@pytest.mark.parametrize('size', [9, 14, 40])
def test_box_follows_the_size(size):
    box = text_box('gypsum', size, (0, 0, 255))
    assert box.dtype == np.uint8 and size <= box.shape[0] <= 2 * size
    assert (box[0, 0] == (0, 0, 255)).all()


def test_text_contrasts_with_its_ground():
    assert text_box('x', 20, (0, 0, 0)).max() > 200
    assert text_box('x', 20, (255, 255, 255)).min() < 50
    assert (text_box('x', 20, (255, 255, 255), (0, 200, 0)).reshape(-1, 3) == (0, 200, 0)).all(axis=1).any()
