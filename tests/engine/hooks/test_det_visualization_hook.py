"""Which predictions are drawn, and on which image."""
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from maskforge.engine.hooks import DetVisualizationHook
from maskforge.engine.hooks.det_visualization_hook import original_image
from maskforge.structures import DetDataSample


class Recorder:
    def __init__(self):
        self.calls = []

    def add_datasample(self, name, image, **options):
        self.calls.append(dict(options, name=name, shape=image.shape))


def sample(index, **meta):
    return DetDataSample(metainfo=dict(img_id=index, img_path=f'shapes://{index}', ori_shape=(4, 6), **meta))


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(visualizer=Recorder(), iter=100, work_dir=str(tmp_path), timestamp='now')


def batch(count=2):
    return dict(inputs=[torch.zeros(3, 8, 12, dtype=torch.uint8)] * count)


def test_validation_draws_every_interval(runner):
    hook = DetVisualizationHook(draw=True, interval=3, score_thr=0.4)
    for index in range(7):
        hook.after_val_iter(runner, index, batch(), [sample(0), sample(1)])
    assert [call['step'] for call in runner.visualizer.calls] == [100, 103, 106]
    call = runner.visualizer.calls[0]
    assert (call['name'], call['shape'], call['pred_score_thr']) == ('val_img', (4, 6, 3), 0.4)


@pytest.mark.parametrize(('options', 'expected'), [(dict(draw=True), 4), (dict(draw=True, interval=2), 2),
                                                   (dict(show=True), 4), (dict(), 0)])
def test_test_draws_images(runner, options, expected):
    hook = DetVisualizationHook(test_out_dir='drawn', **options)
    for index in range(2):
        hook.after_test_iter(runner, index, batch(), [sample(2 * index), sample(2 * index + 1)])
    files = [Path(call['out_file']) for call in runner.visualizer.calls]
    assert len(files) == expected
    assert all(file.parent == Path(runner.work_dir) / 'now' / 'drawn' for file in files)


def test_image_from_its_file(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    found = original_image(DetDataSample(metainfo=dict(img_path=str(tmp_path / 'a.png'))), {}, 0)
    np.testing.assert_array_equal(found, image[..., ::-1])


def test_image_from_the_batch_is_scaled_back_and_upright():
    image = np.zeros((3, 8, 16), np.uint8)
    image[0, :, :6] = 200  # blue, at the left; columns 12 to 15 are padding
    meta = dict(img_shape=(8, 12), flip=True, flip_direction='horizontal')
    found = original_image(sample(0, **meta), dict(inputs=[torch.from_numpy(image)]), 0)
    assert found.shape == (4, 6, 3)
    assert (found[:, 3:, 2] == 200).all() and (found[:, :3] == 0).all()


def test_image_of_augmented_views():
    image = np.zeros((3, 4, 6), np.uint8)
    image[2, :, :2] = 99  # red, at the left of a view that is flipped
    views = [sample(0, flip=True, flip_direction='horizontal'), sample(0, flip=False)]
    data = dict(inputs=[[torch.from_numpy(image)], [torch.from_numpy(image)]], data_samples=[[view] for view in views])
    found = original_image(sample(0, flip=False), data, 0)
    assert (found[:, 4:, 0] == 99).all() and (found[:, :4] == 0).all()


def test_wrong_interval():
    with pytest.raises(ValueError, match='at least 1'):
        DetVisualizationHook(interval=0)
