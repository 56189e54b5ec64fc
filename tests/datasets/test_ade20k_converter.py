"""ADE20K's folders: pairs, classes, and everything that a pair can lack."""
import json

import numpy as np
import pytest

from maskforge.cli.convert import main
from maskforge.datasets import SemanticJsonlDataset
from maskforge.datasets.converters import ade20k
from maskforge.formats.panoptic_png import write_png

TABLE = ['Idx\tRatio\tTrain\tVal\tStuff\tName', '1\t0.2\t10\t1\t1\twall', '2\t0.1\t9\t1\t1\tbuilding, edifice',
         '3\t0.1\t5\t1\t0\tscreen, silver screen', '4\t0.1\t4\t1\t0\tscreen, monitor']
NAMES = ('wall', 'building', 'screen, silver screen', 'screen, monitor')


@pytest.fixture
def folder(tmp_path):
    """Two training pairs and one for validation, of 6 x 4 pixels, with ADE20K's list of classes."""
    masks = {'training/b': [[0, 1, 2, 2, 255, 4]] * 4, 'training/a': [[1] * 6] * 4, 'validation/c': [[3] * 6] * 4}
    for name, values in masks.items():
        write_png(np.zeros((4, 6, 3), np.uint8), tmp_path / 'images' / f'{name}.jpg')
        write_png(np.array(values, np.uint8), tmp_path / 'annotations' / f'{name}.png')
    (tmp_path / 'objectInfo150.txt').write_text('\n'.join(TABLE) + '\n')
    return tmp_path


def test_list_and_label_map(folder):
    done = ade20k.convert(folder, folder / 'train.jsonl', label_map=folder / 'classes.json')
    assert [json.loads(line) for line in (folder / 'train.jsonl').read_text().splitlines()] == [
        dict(img=f'images/training/{name}.jpg', segm=f'annotations/training/{name}.png') for name in 'ab']
    assert (done.images, done.skipped) == (2, []) and list(done.classes.values()) == [2, 1, 0, 1]
    data = SemanticJsonlDataset(ann_file='train.jsonl', data_root=str(folder), label_map='classes.json')
    assert data.metainfo['classes'] == NAMES and data.metainfo['is_thing'] == (False, False, True, True)


def test_command(folder, capsys):
    assert main(['ade20k', str(folder), str(folder / 'val.jsonl'), '--split', 'validation', '--classes', 'x', 'y',
                 'z']) == 0
    assert '1 images' in capsys.readouterr().out
    (folder / 'names.txt').write_text('x\ny\nz\n')
    done = ade20k.convert(folder / 'images', folder / 'all.jsonl', split='', img_subdir='validation',
                          mask_subdir='../annotations/validation', classes=folder / 'names.txt')
    assert list(done.classes) == ['x', 'y', 'z']
    assert json.loads((folder / 'all.jsonl').read_text())['img'] == 'validation/c.jpg'


@pytest.mark.parametrize('change, message', [
    (lambda path: path.unlink(), 'a.png does not exist'),
    (lambda path: write_png(np.zeros((6, 4), np.uint8), path), 'is 4 x 6 pixels, the image 6 x 4'),
    (lambda path: write_png(np.zeros((4, 6, 3), np.uint8), path), 'not an image with one channel'),
    (lambda path: write_png(np.full((4, 6), 9, np.uint8), path), 'has the value 9, there are 4 classes'),
    (lambda path: path.write_bytes(b'no png'), 'not an image with one channel')])
def test_bad_pairs_are_left_out_and_listed(folder, change, message):
    change(folder / 'annotations' / 'training' / 'a.png')
    done = ade20k.convert(folder, folder / 'out.jsonl')
    assert done.images == 1 and len(done.skipped) == 1 and message in done.skipped[0]
    change(folder / 'annotations' / 'training' / 'b.png')
    (folder / 'annotations' / 'training' / 'b.png').unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r'has a usable mask, so .*out.jsonl is not written'):
        ade20k.convert(folder, folder / 'out.jsonl')


@pytest.mark.parametrize('settings, error, message', [
    (dict(split='test'), FileNotFoundError, 'images/test does not exist'),
    (dict(mask_subdir='labels'), FileNotFoundError, 'labels/training does not exist; pass mask_subdir')])
def test_missing_folders(folder, settings, error, message):
    with pytest.raises(error, match=message):
        ade20k.convert(folder, folder / 'out.jsonl', **settings)


def test_broken_list_of_classes(folder):
    (folder / 'objectInfo150.txt').write_text('\n'.join([TABLE[0], TABLE[2]]))
    with pytest.raises(ValueError, match='tab-separated lines of Idx'):
        ade20k.convert(folder, folder / 'out.jsonl')
    (folder / 'objectInfo150.txt').unlink()
    with pytest.raises(FileNotFoundError, match='or pass classes'):
        ade20k.convert(folder, folder / 'out.jsonl')
