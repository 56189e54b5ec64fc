import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from maskforge.visualization import ResultPage


class Checker(HTMLParser):
    """Counts tags and makes sure that they are balanced."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ('meta', 'img', 'input'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(path):
    checker = Checker()
    checker.feed(path.read_text())
    assert checker.open == []
    return checker.seen


def page(count=2, **settings):
    found = ResultPage('A <title>', **settings)
    found.add_heading('Values & more')
    found.add_values({'segm mAP': 0.51234567, 'epochs': 12, 'device': 'cpu'})
    for number in range(count):
        found.add_picture(np.full((30, 40, 3), number, np.uint8), f'picture "{number}"', tags=['cat', 'cat', '<dog>'])
    return found


def test_one_file_without_outside_parts(tmp_path):
    path = page().write(tmp_path / 'deep' / 'index.html')
    text, tags = path.read_text(), parse(path)
    assert [p.name for p in path.parent.iterdir()] == ['index.html']
    assert 'A &lt;title&gt;' in text and 'Values &amp; more' in text and '0.5123' in text
    assert not re.search(r'(src|href)="(?!data:)', text) and 'http' not in text
    pictures = [attrs['src'] for tag, attrs in tags if tag == 'img' and attrs.get('src')]
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[1].split(',')[1]), np.uint8), 1)
    assert decoded.shape == (30, 40, 3) and abs(int(decoded[0, 0, 0]) - 1) <= 1


def test_filter_buttons(tmp_path):
    tags = parse(page().write(tmp_path / 'x.html'))
    assert [attrs['data-tag'] for tag, attrs in tags if tag == 'button'] == ['<dog>', 'cat']
    assert [attrs['data-tags'] for tag, attrs in tags if tag == 'figure'] == ['["cat", "<dog>"]'] * 2


def test_files_beside_the_page(tmp_path):
    path = page(embed=False).write(tmp_path / 'x.html')
    assert [p.name for p in sorted((tmp_path / 'x_files').iterdir())] == ['00000.jpg', '00001.jpg']
    assert 'src="x_files/00001.jpg"' in path.read_text()


def test_large_pictures_are_shrunk(tmp_path):
    path = ResultPage('x', max_side=100, embed=False)
    path.add_picture(np.zeros((400, 800, 3), np.uint8))
    path.write(tmp_path / 'x.html')
    assert cv2.imread(str(tmp_path / 'x_files' / '00000.jpg')).shape == (50, 100, 3)


def test_picture_files(tmp_path):
    cv2.imwrite(str(tmp_path / 'plot.png'), np.zeros((9, 9, 3), np.uint8))
    found = ResultPage('x')
    found.add_picture(tmp_path / 'plot.png', 'curves')
    assert 'image/png' in found.write(tmp_path / 'x.html').read_text()
    (tmp_path / 'no.jpg').write_text('x')
    with pytest.raises(ValueError, match=r'no\.jpg: not a readable image'):
        found.add_picture(tmp_path / 'no.jpg')
