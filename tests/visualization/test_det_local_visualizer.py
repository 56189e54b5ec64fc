import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.registry import VISUALIZERS
from maskforge.structures import DetDataSample, InstanceMasks, PanopticSegmentation
from maskforge.visualization import DetLocalVisualizer
from maskforge.visualization.sample_frame import truth_in_frame


@pytest.fixture
def image():
    return np.full((60, 80, 3), (200, 20, 20), np.uint8)


@pytest.fixture
def sample():
    """Truth in the frame of an image of twice the size, a prediction in the original frame."""
    found = DetDataSample(metainfo=dict(ori_shape=(60, 80), img_shape=(120, 160), scale_factor=(2.0, 2.0)))
    found.gt_instances = InstanceData(bboxes=torch.tensor([[20., 20., 80., 80.]]), labels=torch.tensor([0]),
                                      masks=InstanceMasks([[[20, 20, 80, 20, 80, 80, 20, 80]]], 120, 160))
    found.pred_instances = InstanceData(bboxes=torch.tensor([[10., 10., 40., 40.]]), labels=torch.tensor([1]),
                                        scores=torch.tensor([0.9]))
    return found


@pytest.fixture
def visualizer(tmp_path, request):
    found = VISUALIZERS.build(dict(type='DetLocalVisualizer', name=request.node.name, save_dir=str(tmp_path),
                                   vis_backends=[dict(type='LocalVisBackend')]))
    found.dataset_meta = dict(classes=('a', 'b'), palette=[(0, 0, 255), (0, 255, 0)])
    return found


def test_truth_and_prediction_side_by_side(visualizer, image, sample, tmp_path):
    visualizer.add_datasample('test', image, sample, step=3)
    written = cv2.imread(str(tmp_path / 'vis_data' / 'vis_image' / 'test_3.png'))
    assert written.shape == (60, 160, 3)
    assert written[55, 75].tolist() == [20, 20, 200]
    # the truth is mapped back to the original image: its blue mask lies at 10 .. 40
    assert written[30, 25, 0] > 80 and written[45, 45].tolist() == [20, 20, 200]
    assert visualizer.get_image().shape == (60, 160, 3)


@pytest.mark.parametrize(('settings', 'width'), [(dict(draw_gt=False), 80), (dict(draw_pred=False), 80), ({}, 160)])
def test_parts(visualizer, image, sample, tmp_path, settings, width):
    visualizer.add_datasample('x', image, sample, out_file=tmp_path / 'sub' / 'x.jpg', **settings)
    assert cv2.imread(str(tmp_path / 'sub' / 'x.jpg')).shape == (60, width, 3)
    assert not (tmp_path / 'vis_data' / 'vis_image').exists()


def test_score_threshold(visualizer, image, sample, tmp_path):
    visualizer.add_datasample('x', image, sample, draw_gt=False, pred_score_thr=0.95, out_file=tmp_path / 'x.png')
    assert (cv2.imread(str(tmp_path / 'x.png')) == image[..., ::-1]).all()


def test_image_of_the_network(visualizer, sample, tmp_path):
    """A resized picture: truth as it is, prediction on the picture at its original size."""
    visualizer.add_datasample('x', np.zeros((120, 160, 3), np.uint8), sample, out_file=tmp_path / 'x.png')
    assert cv2.imread(str(tmp_path / 'x.png')).shape == (60, 160, 3)


def test_without_a_sample(visualizer, image, tmp_path):
    visualizer.add_datasample('x', image, out_file=tmp_path / 'x.png')
    assert (cv2.imread(str(tmp_path / 'x.png')) == image[..., ::-1]).all()


def test_no_display_is_said_and_survived(visualizer, image, monkeypatch):
    import matplotlib
    matplotlib.use('Agg')
    said = []
    monkeypatch.setattr('maskforge.visualization.det_local_visualizer.print_log',
                        lambda text, **kwargs: said.append(text))
    visualizer.add_datasample('x', image, show=True)
    assert 'no display' in said[0]
    with pytest.raises(ValueError, match='matplotlib'):
        visualizer.show(image, backend='cv2')


def test_wrong_ending(visualizer, image, tmp_path):
    with pytest.raises((ValueError, cv2.error)):
        visualizer.add_datasample('x', image, out_file=tmp_path / 'x.nothing')


@pytest.mark.parametrize('settings', [dict(bbox_color=(9, 9, 9)), dict(mask_color=(9, 9, 9)), dict(alpha=0.9),
                                      dict(line_width=4), dict(text_color=(255, 0, 0)), dict(min_side=200)])
def test_every_setting_shows(image, sample, settings):
    plain, other = DetLocalVisualizer(name='plain'), DetLocalVisualizer(name='other', **settings)
    pictures = []
    for one in (plain, other):
        one.dataset_meta = dict(classes=('a', 'b'))
        one.add_datasample('x', image, sample)
        pictures.append(one.get_image())
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()


def test_tensorboard(tmp_path, image, sample):
    pytest.importorskip('tensorboard')
    found = VISUALIZERS.build(dict(type='DetLocalVisualizer', name='tb', save_dir=str(tmp_path),
                                   vis_backends=[dict(type='TensorboardVisBackend')]))
    found.add_datasample('x', image, sample)
    found.add_scalar('loss', 1.0, 1)
    found.close()
    assert list(tmp_path.rglob('events.out.tfevents*'))


def test_mmengine_drawing_works(visualizer, image):
    visualizer.set_image(image)
    visualizer.draw_bboxes(torch.tensor([[5, 5, 20, 20]]), edge_colors='g')
    assert (visualizer.get_image() != image).any()


def test_truth_in_frame(sample):
    assert truth_in_frame(sample, (60, 80)).gt_instances.bboxes.tolist() == [[10, 10, 40, 40]]
    assert truth_in_frame(sample, (60, 80)).gt_instances.masks.height == 60
    assert truth_in_frame(sample, (120, 160)).gt_instances.bboxes.tolist() == [[20, 20, 80, 80]]
    assert 'pred_instances' not in truth_in_frame(sample, (60, 80))


def test_segments_are_drawn_beside_the_truth(visualizer, image, sample, tmp_path):
    del sample.pred_instances
    segments = np.repeat(np.int32([[1], [0]]), 30, axis=0).repeat(80, axis=1)
    sample.pred_panoptic = PanopticSegmentation(segments, np.array([1]), np.float32([0.9]))
    visualizer.add_datasample('x', image, sample, out_file=tmp_path / 'x.png')
    written = cv2.imread(str(tmp_path / 'x.png'))
    assert written.shape == (60, 160, 3)
    assert written[5, 85, 1] > 100 and written[55, 85].tolist() == [20, 20, 200]
