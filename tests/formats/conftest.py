"""A small sound COCO file, to be spoiled by tests."""
import json

import pytest


@pytest.fixture
def coco():
    """Two images and three annotations: polygon, uncompressed RLE (crowd), box only; ids with gaps, from 0."""
    return dict(
        images=[dict(id=0, file_name='a.jpg', height=10, width=20), dict(id=7, file_name='b.jpg', height=8, width=6)],
        annotations=[
            dict(id=0, image_id=0, category_id=5, bbox=[2, 2, 4, 3], area=12, iscrowd=0,
                 segmentation=[[2, 2, 6, 2, 6, 5, 2, 5]]),
            dict(id=3, image_id=7, category_id=0, bbox=[0, 0, 1, 8], area=8, iscrowd=1,
                 segmentation=dict(size=[8, 6], counts=[0, 8, 40])),
            dict(id=9, image_id=0, category_id=0, bbox=[1, 1, 2, 2]),
        ],
        categories=[dict(id=5, name='dog'), dict(id=0, name='cat')])


@pytest.fixture
def write(tmp_path):
    """Write an object as JSON and return the path."""
    def _write(data, name='train.json'):
        path = tmp_path / name
        path.write_text(json.dumps(data))
        return path
    return _write
