"""A mistake is answered by one line that names the thing."""
import json

import cv2
import numpy as np
import pytest
from commands import TOY, tool

pytestmark = pytest.mark.slow

CONFIG = '''
_base_ = '{toy}'
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                  dict(type='PackDetInputs')]
train_dataloader = dict(dataset=dict(
    _delete_=True, type='CocoDataset', data_root='{root}', ann_file='train.json', data_prefix=dict(img='images/'),
    pipeline=train_pipeline))
train_cfg = dict(max_epochs=1)
param_scheduler = []
model = dict(roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))
val_dataloader = None
val_cfg = None
val_evaluator = None
'''


def _annotation(number: int, **changes) -> dict:
    return {**dict(id=number, image_id=number, category_id=1, bbox=[8, 8, 30, 30], area=900, iscrowd=0,
                   segmentation=[[8, 8, 38, 8, 38, 38, 8, 38]]), **changes}


def _content(*, annotation: dict | None = None, image: dict | None = None) -> dict:
    images = [dict(id=number, file_name=f'{number}.jpg', width=64, height=64) for number in range(1, 5)]
    annotations = [_annotation(number) for number in range(1, 5)]
    images[1].update(image or {})
    annotations[1].update(annotation or {})
    return dict(images=images, annotations=annotations, categories=[dict(id=1, name='thing')])


@pytest.fixture
def project(tmp_path):
    (tmp_path / 'images').mkdir()
    for number in range(1, 5):
        picture = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / 'images' / f'{number}.jpg'), picture)
    (tmp_path / 'train.json').write_text(json.dumps(_content()))
    (tmp_path / 'config.py').write_text(CONFIG.format(toy=TOY, root=f'{tmp_path}/'))
    return tmp_path


def _train(project, *options: str):
    return tool('train.py', project / 'config.py', '--work-dir', project / 'work', *options, check=False)


FILES = [
    ('no file', lambda path: path.unlink(), ['train.json']),
    ('cut in half', lambda path: path.write_text(path.read_text()[:200]), ['train.json']),
    ('unknown category', _content(annotation=dict(category_id=7)), ['train.json', '7', 'annotation']),
    ('box outside', _content(annotation=dict(bbox=[100, 100, 20, 20])), ['train.json', 'annotation', '64']),
    ('two points', _content(annotation=dict(segmentation=[[8, 8, 38, 8]])), ['train.json', 'annotation']),
]


@pytest.mark.parametrize(('change', 'words'), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_bad_annotation_file(change, words, project):
    path = project / 'train.json'
    change(path) if callable(change) else path.write_text(json.dumps(change))
    _assert_one_line(_train(project), words)


OPTIONS = [
    ('unknown type', ['model.backbone.type=ResNett'], ['model.backbone', 'ResNett', 'ResNet']),
    ('unknown argument', ['model.backbone.dept=18'], ['model.backbone.dept', 'depth']),
    ('unknown key', ['trian_cfg.max_epochs=3'], ['trian_cfg', 'train_cfg']),
    ('class count', ['model.roi_head.bbox_head.num_classes=3'], ['num_classes', '3', '1']),
    ('wrong checkpoint', ['load_from=missing.pth'], ['missing.pth']),
]


@pytest.mark.parametrize(('options', 'words'), [row[1:] for row in OPTIONS], ids=[row[0] for row in OPTIONS])
def test_bad_option(options, words, project):
    _assert_one_line(_train(project, '--cfg-options', *options), words)


def test_checkpoint_of_another_model(project):
    import torch
    torch.save(dict(state_dict={'encoder.weight': torch.zeros(3)}), project / 'other.pth')
    _assert_one_line(_train(project, '--load-from', str(project / 'other.pth')), ['other.pth', 'encoder.weight'])


def _assert_one_line(done, words: list[str]) -> None:
    errors = [line for line in done.stderr.splitlines() if line.startswith('maskforge: error:')]
    assert done.returncode == 2 and len(errors) == 1 and 'Traceback' not in done.stderr, done.stderr[-3000:]
    assert all(word in errors[0] for word in words), errors[0]


def _cut(path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def _enlarge(path) -> None:
    cv2.imwrite(str(path), np.zeros((80, 90, 3), np.uint8))


@pytest.mark.parametrize('spoil', [_cut, _enlarge], ids=['truncated JPEG', 'another size than the record'])
def test_a_broken_image_is_named_and_does_not_end_the_run(spoil, project):
    spoil(project / 'images' / '2.jpg')
    done = _train(project)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '2.jpg' in done.stdout + done.stderr
    _assert_one_line(_train(project, '--cfg-options', 'train_dataloader.dataset.on_error=raise'), ['2.jpg'])
