"""Checks on real files; set MASKFORGE_DATA to a folder with ``coco128`` and ``bccd``."""
import os
from pathlib import Path

import pytest

from maskforge.datasets import CocoDataset, VOCDataset
from maskforge.datasets.converters import check_coco, voc

DATA = os.environ.get('MASKFORGE_DATA', '')
pytestmark = pytest.mark.skipif(not DATA, reason='MASKFORGE_DATA is not set')
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


def test_coco():
    root = Path(DATA) / 'coco128'
    for split in ('train', 'val'):
        path = root / f'instances_{split}.json'
        assert not [d for d in check_coco(path, image_dir=root / 'images') if d.severity != 'warning']
        data = CocoDataset(ann_file=str(path), data_prefix=dict(img=str(root / 'images')), pipeline=LOAD,
                           test_mode=True)
        assert len(data.metainfo['classes']) == 80 and data.metainfo['category_ids'][-1] == 90
        assert all(len(data[i]['gt_masks']) == len(data[i]['gt_bboxes']) for i in range(len(data)))


def test_blood_cells(tmp_path):
    root = Path(DATA) / 'bccd'
    for split in ('train', 'val', 'test'):
        done = voc.convert(root, tmp_path / f'{split}.json', split=split)
        assert list(done.classes) == ['Platelets', 'RBC', 'WBC']
        boxes = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
        direct = VOCDataset(data_root=str(root), ann_file=f'ImageSets/Main/{split}.txt', on_defect='skip')
        converted = CocoDataset(ann_file=str(tmp_path / f'{split}.json'), pipeline=boxes,
                                data_prefix=dict(img=str(root / 'JPEGImages')))
        assert len(direct) == len(converted) and len(converted[0]['gt_bboxes'])
        assert [i['bbox'] for i in direct[0]['instances']] == [i['bbox'] for i in converted[0]['instances']]
