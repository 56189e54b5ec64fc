"""SA-V's annotation files: their forms, and what is wrong with them."""
import json

import numpy as np
import pytest

from maskforge.formats.rle import encode
from maskforge.formats.sav_json import SavJson


def text_rle(width=3):
    bitmap = np.zeros((6, 8), bool)
    bitmap[1:4, 1:1 + width] = True
    code = encode(bitmap)
    counts = code['counts']
    return dict(size=list(code['size']), counts=counts.decode() if isinstance(counts, bytes) else counts)


def load(folder, data, **options):
    path = folder / 'v_manual.json'
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding='utf-8')
    return SavJson.load(path, **options)


@pytest.mark.parametrize(('wrap', 'options', 'every', 'ids'), [
    (lambda frames: frames, {}, 1, [0, 1]),
    (lambda frames: dict(masks=frames), dict(ann_every=4), 4, [0, 1]),
    (lambda frames: dict(masklet=frames, masklet_id=[7, 3]), {}, 1, [7, 3]),
    (lambda frames: dict(masklet=frames, fps=6), dict(ann_every=2), 4, [0, 1]),
    (lambda frames: dict(masklet=frames, fps=[6.0]), dict(frames_fps=48), 8, [0, 1]),
])
def test_forms(wrap, options, every, ids, tmp_path):
    frames = [[text_rle(), None], None, [None, None], [text_rle(), text_rle(5)]]
    found = load(tmp_path, wrap(frames), **options)
    assert found.ann_every == every and found.object_ids == ids
    assert found.annotated_frames(complete=True) == [3 * every]
    assert found.annotated_frames(complete=False) == [0, 3 * every]
    assert found.visible(0) == ids[:1] and found.visible(3 * every) == ids and found.visible(every) == []
    assert found.rle(0, ids[1]) is None and found.rle(99 * every, ids[0]) is None
    if every > 1:
        assert found.rle(3 * every + 1, ids[0]) is None


@pytest.mark.parametrize(('data', 'message'), [
    ('{"masklet": [', r'v_manual\.json'),
    (dict(mask=[]), r"v_manual\.json has neither 'masklet' nor 'masks'; its keys: mask"),
    (dict(masks={}), 'a list of frames is needed, each a list of RLEs or null'),
    ([[None], 3], 'a list of frames is needed, each a list of RLEs or null'),
    ([[None], [None, None]], r'frames have different numbers of objects \(\[1, 2\]\)'),
    (dict(masklet=[[None]], fps=7), 'annotations at fps=7 do not fall on frames at frames_fps=24'),
    (dict(masklet=[[None]], fps=0), 'fps=0'),
    (dict(masklet=[[None]], fps='6'), "fps='6'"),
    (dict(masklet=[[None]], fps=[]), r'fps=\[\]'),
    (dict(masklet=[[None, None]], masklet_id=[1]), r"'masklet_id' has 1 ids \(1 different ones\) for 2 objects"),
    (dict(masklet=[[None, None]], masklet_id=[1, 1]), r"'masklet_id' has 2 ids \(1 different ones\)"),
    (dict(masklet=[[None, None]], masklet_id=[1, '2']), "ids in 'masklet_id' are of type int and str; whole numbers"),
    (dict(masklet=[[None]], masklet_id='a'), "ids in 'masklet_id' are of type str"),
])
def test_broken_files(data, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, data)


@pytest.mark.parametrize('item', ['abc', 5, {}, dict(size=[6, 8]), dict(size=[6, 8], counts='abc'),
                                  dict(size=[6], counts='02')])
def test_broken_masks_are_named(item, tmp_path):
    found = load(tmp_path, dict(masklet=[[text_rle()], [item]], masklet_id=[7]), ann_every=4)
    assert found.rle(0, 7) is not None
    with pytest.raises(ValueError, match=r'v_manual\.json, frame 4, object 7: '):
        found.rle(4, 7)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone\.json'):
        SavJson.load(tmp_path / 'gone.json')
