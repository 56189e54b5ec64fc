import numpy as np
import pytest
import torch

from maskforge.evaluation.click_metric import ClickMetric, mask_iou
from maskforge.registry import METRICS
from maskforge.structures import InstanceMasks

SIZE = (20, 30)


def masks(*boxes):
    bitmaps = np.zeros((len(boxes), *SIZE), bool)
    for bitmap, (x0, y0, x1, y1) in zip(bitmaps, boxes):
        bitmap[y0:y1, x0:x1] = True
    return InstanceMasks.from_bitmaps(bitmaps)


def sample(image, truth, **found):
    gt = dict(masks=truth, bboxes=torch.from_numpy(truth.bboxes()), labels=torch.zeros(len(truth), dtype=torch.long))
    return dict(img_id=image, img_path=f'{image}.jpg', ori_shape=SIZE, scale_factor=(1., 1.), gt_instances=gt,
                pred_clicks={f'masks_{name[1:]}': value for name, value in found.items()})


def score(*samples):
    metric = METRICS.build(dict(type='ClickMetric'))
    metric.process(None, list(samples))
    return metric.evaluate(len(samples))


def test_the_mean_is_over_objects_of_all_images():
    first = sample(1, masks((0, 0, 10, 10)), k1=masks((0, 0, 10, 5)), k3=masks((0, 0, 10, 10)))
    second = sample(2, masks((0, 0, 4, 4), (5, 5, 9, 9)), k1=masks((0, 0, 4, 2), (20, 10, 24, 14)),
                    k3=masks((0, 0, 4, 4), (5, 5, 9, 7)))
    values = score(first, second)
    assert values == {'clicks/mIoU_1': pytest.approx((.5 + .5 + 0) / 3), 'clicks/mIoU_3': pytest.approx(2.5 / 3)}


def test_truth_in_the_frame_of_a_resized_image_goes_back_to_the_original():
    resized = sample(1, masks((0, 0, 10, 10)), k1=InstanceMasks.from_bitmaps(np.pad(np.ones((1, 5, 5), bool),
                                                                                    ((0, 0), (0, 5), (0, 10)))))
    resized.update(ori_shape=(10, 15), scale_factor=(2., 2.))
    assert score(resized) == {'clicks/mIoU_1': 1.}


@pytest.mark.parametrize('first, second, want', [((0, 0, 0, 0), (0, 0, 0, 0), 1.), ((0, 0, 0, 0), (0, 0, 2, 2), 0.),
                                                 ((0, 0, 4, 2), (0, 0, 4, 4), .5)])
def test_iou_of_masks(first, second, want):
    assert mask_iou(*(masks(box).to_rles()[0] for box in (first, second))) == want


def without(name):
    given = sample(7, masks((0, 0, 4, 4)), k1=masks((0, 0, 4, 4)))
    if name == 'masks':
        del given['gt_instances']['masks']
    elif name == 'objects':
        given['pred_clicks'] = dict(masks_1=masks())
    else:
        del given[name]
    return given


@pytest.mark.parametrize('missing, message', [('pred_clicks', "image 7: the data sample has no pred_clicks.*SAM2"),
                                              ('masks', 'with_mask=True'), ('objects', '0 masks for 1 objects')])
def test_what_is_missing_is_named(missing, message):
    with pytest.raises(ValueError, match=message):
        ClickMetric().process(None, [without(missing)])
