"""SA-1B's annotation files: what is read of them, and what is wrong with them."""
import json

import numpy as np
import pytest

from maskforge.formats.rle import area, encode
from maskforge.formats.sa1b_json import Sa1bJson


def record(**values):
    bitmap = np.zeros((6, 8), bool)
    bitmap[1:4, 2:6] = True
    code = encode(bitmap)
    counts = code['counts']
    return dict(segmentation=dict(size=list(code['size']),
                                  counts=counts.decode() if isinstance(counts, bytes) else counts), **values)


def load(folder, data, **options):
    path = folder / 'sa_1.json'
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding='utf-8')
    return Sa1bJson.load(path, **options)


@pytest.mark.parametrize(('options', 'kept', 'lacking'), [
    ({}, [1, 2, 3], 0),
    (dict(min_iou=0.5), [1, 3], 1),
    (dict(min_iou=0.5, iou_key='predicted_iou'), [1, 2, 3], 2),
    (dict(min_iou=0.), [1, 2, 3], 0),
])
def test_records(options, kept, lacking, tmp_path):
    data = dict(image=dict(height=6, width=8), annotations=[
        record(uncertain_iou=0.9), record(uncertain_iou=0.1, predicted_iou=0.8), record(uncertain_iou=None)])
    found = load(tmp_path, data, **options)
    assert found.size == (6, 8) and list(found.records) == kept and found.lacking == lacking
    assert area(found.rle(1)) == 12


@pytest.mark.parametrize(('data', 'message'), [
    ('{"annotations": [', r'sa_1\.json'),
    ([], r'sa_1\.json'),
    ({}, r"sa_1\.json has no list 'annotations'; its keys: none"),
    (dict(annotations={}), r"has no list 'annotations'; its keys: annotations"),
    (dict(annotations=[record(), 3]), r"annotation 2: 'segmentation' must be an RLE"),
    (dict(annotations=[dict(segmentation=[[0, 0, 4, 0, 4, 4]])]), r"annotation 1: 'segmentation' must be an RLE"),
    (dict(image=dict(height='six', width=8), annotations=[]), r"sa_1\.json: 'image' has height='six', width=8"),
    (dict(image=[], annotations=[]), r"sa_1\.json: 'image' must be an object"),
    (dict(annotations=[record(uncertain_iou='high')]), r"annotation 1: uncertain_iou='high' is no number"),
])
def test_broken_files(data, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, data, min_iou=0.5)


def test_no_size_is_none(tmp_path):
    assert load(tmp_path, dict(annotations=[])).size is None


@pytest.mark.parametrize('code', [{}, dict(size=[6, 8]), dict(size=[6, 8], counts='abc'), dict(size=[6], counts='02')])
def test_broken_masks_are_named(code, tmp_path):
    found = load(tmp_path, dict(annotations=[record(), dict(segmentation=code)]))
    with pytest.raises(ValueError, match=r'sa_1\.json, annotation 2: '):
        found.rle(2)
