"""Files that are sound, for the tests to spoil."""
import json
import shutil

import cv2
import numpy as np
import pytest

from maskforge.datasets.synthetic import draw_shapes
from maskforge.formats import rle


@pytest.fixture(scope='session')
def sound(tmp_path_factory):
    """Drawn pictures with instance, panoptic and semantic annotations."""
    return draw_shapes(tmp_path_factory.mktemp('sound'), num_train=3, num_val=1, size=48, panoptic=True,
                       semantic=True).root


def _smaller(data):
    """Fewer points: hypothesis looks at every place of the file."""
    data['annotations'] = data['annotations'][:5]
    return data


@pytest.fixture(scope='session')
def coco(sound):
    """The content of a COCO file: polygons, an RLE of either form, a crowd region."""
    data = _smaller(json.loads((sound / 'annotations' / 'instances_train.json').read_text()))
    bitmap = np.zeros((48, 48), bool)
    bitmap[8:20, 8:30] = True
    code = rle.to_json(rle.encode(bitmap))
    runs = rle.run_lengths(code['counts']).tolist()
    for record, segmentation in zip(data['annotations'], (code, dict(size=[48, 48], counts=runs))):
        record.update(segmentation=segmentation, bbox=[8, 8, 22, 12], area=264.0, iscrowd=1)
    data['annotations'][2].update(segmentation=[[5, 5, 20, 5, 20, 20.5, 5, 20]], bbox=[5, 5, 15, 15])
    return data


@pytest.fixture(scope='session')
def video(tmp_path_factory):
    """A video of four frames, and the content of its SA-V file."""
    root = tmp_path_factory.mktemp('video')
    (root / 'frames' / 'v').mkdir(parents=True)
    (root / 'masks').mkdir()
    for number in range(4):
        cv2.imwrite(str(root / 'frames' / 'v' / f'{number:05d}.jpg'), np.full((32, 40, 3), 60 * number, np.uint8))
    bitmap = np.zeros((32, 40), bool)
    bitmap[4:20, 4:30] = True
    code = rle.to_json(rle.encode(bitmap))
    content = dict(video_id='v', video_frame_count=4, masklet_id=[0, 1], masklet_num=2,
                   masklet=[[code, code] for _ in range(4)])
    return root, content


@pytest.fixture(scope='session')
def kitti(sound, tmp_path_factory):
    """A KITTI sequence: one picture and its label text."""
    root = tmp_path_factory.mktemp('kitti')
    (root / 'images').mkdir()
    (root / 'labels').mkdir()
    shutil.copy(sorted((sound / 'train').iterdir())[0], root / 'images' / '000000.jpg')
    zeros = ' '.join(['0.00'] * 7)
    return root, f'car 0.00 0 0.00 1 2 30 40 {zeros}\nPerson Group 0.5 1 -1.57 3.5 4 20 30 {zeros} 0.9\n'.encode()
