import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from maskforge.structures import DetDataSample, PanopticSegmentation
from maskforge.visualization import draw_instances, draw_panoptic, draw_predictions, draw_semantic

LOOK = (('a', 'b'), [(0, 0, 255), (0, 255, 0)])
SEGMENTS = np.repeat(np.array([[0, 1, 1, 2]], np.int32), 40, axis=0).repeat(20, axis=1)


@pytest.fixture
def image():
    return np.full((40, 80, 3), 90, np.uint8)


@pytest.fixture
def sample():
    found = DetDataSample()
    found.pred_panoptic = PanopticSegmentation(SEGMENTS, np.array([1, 0]), np.array([0.9, 0.4], np.float32))
    found.pred_instances = InstanceData(bboxes=torch.tensor([[10., 10, 30, 30], [40, 10, 60, 30]]),
                                        labels=torch.tensor([0, 1]), scores=torch.tensor([0.9, 0.8]))
    found.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(SEGMENTS > 1).byte()[None])
    return found


def test_one_panel_for_every_kind(image, sample):
    drawn = draw_predictions(image, sample, *LOOK, 0.5)
    want = [draw_panoptic(image, sample.pred_panoptic, *LOOK, 0.5),
            draw_instances(image, sample.pred_instances, *LOOK, 0.5),
            draw_semantic(image, SEGMENTS > 1, *LOOK)]
    np.testing.assert_array_equal(drawn, np.concatenate(want, axis=1))


@pytest.mark.parametrize('field', ['pred_panoptic', 'pred_instances', 'pred_sem_seg'])
@pytest.mark.parametrize('settings', [dict(only=[1]), dict(line_width=4), dict(min_side=90), dict(alpha=0.9)])
def test_settings_reach_every_kind(image, sample, field, settings):
    if field == 'pred_instances' and 'alpha' in settings:
        sample.pred_instances.masks = torch.from_numpy(np.stack([SEGMENTS == 1, SEGMENTS == 2]))
    one = DetDataSample()
    one.set_field(sample.get(field), field)
    plain, other = draw_predictions(image, one, *LOOK), draw_predictions(image, one, *LOOK, **settings)
    assert plain.shape != other.shape or (plain != other).any()


def test_a_sample_without_predictions(image):
    with pytest.raises(ValueError, match='no predictions to draw: none of pred_panoptic, pred_instances, pred_sem_seg'):
        draw_predictions(image, DetDataSample())
