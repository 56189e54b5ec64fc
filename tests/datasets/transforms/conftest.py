"""A drawn image with its record, as a data set hands it to the pipeline."""
import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 60, 80


def corners(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


@pytest.fixture(scope='session')
def image_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('images') / 'a.png'
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (WIDTH, HEIGHT)))
    return path


@pytest.fixture
def record(image_file):
    """Three boxes with polygons, RLE and a crowd; the third lies in the lower right corner."""
    crowd = {'size': [HEIGHT, WIDTH], 'counts': [HEIGHT * 40, HEIGHT * 5, HEIGHT * 35]}
    return dict(img_path=str(image_file), img_id=7, height=HEIGHT, width=WIDTH, instances=[
        dict(bbox=[5, 5, 30, 25], bbox_label=2, mask=corners(5, 5, 30, 25), ignore_flag=0),
        dict(bbox=[40, 0, 45, 60], bbox_label=0, mask=crowd, ignore_flag=1),
        dict(bbox=[60, 40, 75, 55], bbox_label=1, mask=corners(60, 40, 75, 55), ignore_flag=0)])
