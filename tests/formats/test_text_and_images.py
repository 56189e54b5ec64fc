"""Files that are not what they should be: texts in other encodings, images that end early."""
import re

import cv2
import numpy as np
import pytest

from maskforge.formats.class_list import read_class_list
from maskforge.formats.json_file import parse_json, read_json, write_json
from maskforge.formats.json_stream import stream_json
from maskforge.formats.kitti import read_kitti_labels
from maskforge.formats.panoptic_png import read_panoptic_png
from maskforge.formats.rle import find_problem
from maskforge.formats.segmentation_column import polygon_problem
from maskforge.formats.segmentation_jsonl import read_segmentation_jsonl
from maskforge.formats.text_file import read_text_file
from maskforge.formats.via_json import read_via_json
from maskforge.formats.whole_image import check_whole


def test_byte_order_marks_and_line_ends(tmp_path):
    (tmp_path / 'a.txt').write_bytes('\ufeffä\r\nb\rc\n'.encode())
    assert read_text_file(tmp_path / 'a.txt') == 'ä\nb\nc\n'
    (tmp_path / 'a.json').write_bytes('\ufeff{"a": 1}'.encode())
    assert read_json(tmp_path / 'a.json') == {'a': 1} and dict(stream_json(tmp_path / 'a.json')) == {'a': 1}


@pytest.mark.parametrize('read', [read_json, read_segmentation_jsonl, read_kitti_labels, read_class_list,
                                  read_text_file, read_via_json])
def test_other_encodings(read, tmp_path):
    (tmp_path / 'a.txt').write_bytes('{"ä": 1}'.encode('utf-16'))
    with pytest.raises(ValueError, match=r'a\.txt is not UTF-8 text \(byte 0 of \d+\)'):
        read(tmp_path / 'a.txt')


@pytest.mark.parametrize(('text', 'message'), [
    ('[' * 100_000, 'thousands of levels'), ('[1, ' + '9' * 5000 + ']', ' is not usable JSON'),
    ('{"a": 1', 'cut off'), ('{"a": 1}}', 'Extra data')])
def test_json_that_is_none(text, message, tmp_path):
    with pytest.raises(ValueError, match=f'^x.json.*{message}'):
        parse_json(text, 'x.json')
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(ValueError, match=r'x\.json'):
        [list(value) if hasattr(value, '__iter__') else value for _, value in stream_json(tmp_path / 'x.json')]


def test_streams_end_where_the_value_ends(tmp_path):
    for text, message in (('{"a": 1}{"a": 1}', 'something follows the end'), ('{1: 2}', 'a key must be a text, not 1')):
        (tmp_path / 'x.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            list(stream_json(tmp_path / 'x.json'))


def test_half_characters_are_written(tmp_path):
    write_json(['\ud800ä'], tmp_path / 'x.json')
    assert read_json(tmp_path / 'x.json') == ['\ud800ä']


@pytest.mark.parametrize(('code', 'problem'), [
    (dict(size=[-4, -4], counts=[16]), 'size'), (dict(size=['4', '4'], counts=[16]), 'size'),
    (dict(size=[1e300, 4], counts=[16]), 'size'), (dict(size=[float('nan'), 4], counts=[16]), 'size'),
    (dict(size=[4, 4], counts=[2**70]), 'cannot be read'), (dict(size=[4, 4], counts=[2**62, -2**62, 16]), 'negative'),
    (dict(size=[4, 4], counts='o' * 20), 'cannot be read'), (dict(size=[4, 4], counts='ä'), 'cannot be read'),
    (dict(size=[4, 4], counts={'a': 1}), 'cannot be read'), (dict(size=[4.0, 4], counts=[16]), None)])
def test_run_lengths(code, problem):
    found = find_problem(code)
    assert found is None if problem is None else problem in found


@pytest.mark.parametrize(('polygon', 'problem'), [
    (['1', '2', '3', '4', '5', '6'], 'other than numbers'),
    ([1, 2, 3, 4, 1e300, 6], '1e\\+300, which is beyond any image'),
    ([1, 2, 3, 4, 2**70, 6], 'other than numbers|beyond any image'), ([[1, 2], [3]], 'other than numbers')])
def test_polygons(polygon, problem):
    assert re.search(problem, polygon_problem(polygon))


def test_images_that_end_early(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    whole = path.read_bytes()
    check_whole(whole + b'trailing', 'a.png')
    for content in (whole[:1500], whole[:40]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'a\.png is not a whole image'):
            read_panoptic_png(path)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'a\.png is not a readable PNG'):
        read_panoptic_png(path)


@pytest.mark.parametrize(('entry', 'message'), [
    ([], "'_via_img_metadata' is a list"), ({'k': dict(filename=5, regions=[])}, "entry 'k' has no 'filename'"),
    ({'k': dict(filename='a.jpg', regions=3)}, "entry 'k' has regions=3")])
def test_via(entry, message, tmp_path):
    write_json({'_via_img_metadata': entry}, tmp_path / 'via.json')
    with pytest.raises(ValueError, match=rf'via\.json: {message}'):
        read_via_json(tmp_path / 'via.json')
