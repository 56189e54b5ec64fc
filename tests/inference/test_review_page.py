"""Review pages: order, paging, thumbnails, links, boxes without a mask."""
import json
import re
from itertools import pairwise
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from toy_boxes import write_toy

from maskforge.formats import rle
from maskforge.inference import label_boxes, write_review
from maskforge.inference.review_page import draw_thumbnail


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
    """The folder of a finished job; one box has no mask."""
    folder = tmp_path_factory.mktemp('review')
    write_toy(folder)
    data = json.loads((folder / 'boxes.json').read_text())
    data['annotations'][4]['bbox'] = [500, 0, 4, 4]
    (folder / 'boxes.json').write_text(json.dumps(data))
    label_boxes(folder / 'toy.py', folder / 'boxes.json', folder / 'photos', folder / 'out.json',
                weights=folder / 'toy.pth', device='cpu')
    return folder


def qualities(page):
    return [float(text) for text in re.findall(r'<figcaption><a[^>]*>([\d.]+) ', page.read_text())]


def test_the_job_writes_the_worst_first(labelled):
    page = labelled / 'out_review' / 'index.html'
    data = json.loads((labelled / 'out.json').read_text())['annotations']
    expected = sorted(round(record['quality'], 3) for record in data if record['quality'] is not None)
    assert qualities(page) == expected and len(expected) == 29
    text = page.read_text()
    assert 'Boxes without a mask' in text and 'box_outside_image' in text


def test_pages(labelled, tmp_path):
    (tmp_path / 'page_0009.html').touch()
    first = write_review(labelled / 'out.json', labelled / 'photos', per_page=10, folder=tmp_path)
    names = ['index.html', 'page_0002.html', 'page_0003.html']
    assert first == tmp_path / names[0] and sorted(path.name for path in tmp_path.iterdir()) == names
    shown = [qualities(tmp_path / name) for name in names]
    assert [len(page) for page in shown] == [10, 10, 9]
    assert all(before[-1] <= after[0] for before, after in pairwise(shown))
    links = re.findall(r'<p class="links">(.*?)</p>', (tmp_path / names[1]).read_text())[0]
    assert re.findall(r'href="([^"]+)"', links) == [names[0], names[2]] and '<b>2</b>' in links


def test_count_and_links_to_the_images(labelled, tmp_path):
    text = write_review(labelled / 'out.json', labelled / 'photos', count=3, folder=tmp_path / 'a' / 'b').read_text()
    links = re.findall(r'<figcaption><a href="([^"]+)"', text)
    assert len(links) == 3 and all((tmp_path / 'a' / 'b' / unquote(link)).is_file() for link in links)


def test_nothing_to_review(tmp_path):
    (tmp_path / 'a.json').write_text('{"images": [], "annotations": [{"id": 1, "image_id": 1}], "categories": []}')
    with pytest.raises(ValueError, match="no annotation has a mask with a 'quality'"):
        write_review(tmp_path / 'a.json', tmp_path)


@pytest.mark.parametrize(('box', 'shows_mask'), [
    ([30, 20, 20, 10], True), ([-5, -5, 20, 20], False), ([90, 60, 30, 30], False), ([0, 0, 100, 80], True),
    ([50, 50, 1, 1], False)])
def test_thumbnail(box, shows_mask):
    mask = np.zeros((80, 100), bool)
    mask[22:28, 32:48] = True
    image = draw_thumbnail(np.zeros((80, 100, 3), np.uint8), box, rle.encode(mask), side=120)
    assert max(image.shape[:2]) == 120 and image.dtype == np.uint8
    assert (image == (80, 255, 60)).all(-1).any() == shows_mask


def test_thumbnail_outlines_the_mask_where_it_is():
    mask = np.zeros((80, 100), bool)
    mask[22:28, 32:48] = True
    image = draw_thumbnail(np.zeros((80, 100, 3), np.uint8), [30, 20, 20, 10], rle.encode(mask), side=340)
    rows, columns = np.nonzero((image == (80, 255, 60)).all(-1))
    # the crop starts at (23, 13) and is 35 pixels wide: 9.7 times enlarged
    assert np.allclose([columns.min(), columns.max()], [9 * 9.7, 25 * 9.7], atol=12)
    assert np.allclose([rows.min(), rows.max()], [9 * 9.7, 15 * 9.7], atol=12)
    assert cv2.imencode('.png', image)[0]
