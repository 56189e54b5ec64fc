import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from tiny_sam2 import tiny_sam2_network

from maskforge.models.sam2.center_click import center_click
from maskforge.models.sam2.click_rounds import segment_by_clicks
from maskforge.models.sam2.image_prediction import ImagePrompting, predict_images
from maskforge.models.sam2.image_predictor import ImagePredictor
from maskforge.models.sam2.input_scaling import IMAGENET_MEAN, IMAGENET_STD
from maskforge.structures import DetDataSample, InstanceMasks

SIZE = (40, 60)
NORMALISATION = dict(mean=IMAGENET_MEAN, std=IMAGENET_STD)


@pytest.fixture(scope='module')
def network():
    return tiny_sam2_network(image_size=32).eval()


def image(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, *SIZE), np.uint8))


def sample(boxes=None, *, scale=1., path='a.jpg', masks=False):
    found = DetDataSample(metainfo=dict(img_path=path, img_id=1, ori_shape=SIZE, img_shape=SIZE,
                                        scale_factor=(scale, scale)))
    if boxes is not None:
        found.gt_instances = InstanceData(bboxes=torch.tensor(boxes).float() * scale,
                                          labels=torch.arange(len(boxes)))
    if masks:
        bitmaps = np.zeros((len(boxes), *SIZE), bool)
        for bitmap, (x0, y0, x1, y1) in zip(bitmaps, boxes):
            bitmap[y0:y1, x0:x1] = True
        found.gt_instances.masks = InstanceMasks.from_bitmaps(bitmaps)
    return found


BOXES = [[5, 5, 30, 30], [10, 2, 50, 38]]


def predict(network, images, samples, **how):
    return predict_images(network, images, samples, ImagePrompting(**how), **NORMALISATION)


def test_boxes_become_masks_in_their_order(network):
    [found] = predict(network, [image()], [sample([*BOXES, [3, 3, 3, 9]])])
    instances = found.pred_instances
    predictor = ImagePredictor(network)
    predictor.set_tensors([image()])
    masks, ious, _ = predictor.predict(box=BOXES, multimask_output=False)
    assert instances.masks.to_bitmaps()[:2].tolist() == masks[:, 0].tolist()
    assert instances.mask_iou.tolist() == pytest.approx([*ious[:, 0].clamp(0, 1).tolist(), 0.])
    assert instances.labels.tolist() == [0, 1, 2] and instances.bboxes[:2].tolist() == BOXES
    assert instances.scores[2] == 0 and instances.masks.areas()[2] == 0  # a box without extent
    agreement = instances.box_agreement
    assert instances.scores.tolist() == pytest.approx((instances.mask_iou * agreement).sqrt().tolist())
    several = predict(network, [image()], [sample(BOXES)], multimask_output=True)[0].pred_instances
    assert several.masks.to_bitmaps().tolist() != instances.masks.to_bitmaps()[:2].tolist()


def test_samples_of_one_image_share_its_features(network, monkeypatch):
    calls = []
    encode = network.encode_images
    monkeypatch.setattr(network, 'encode_images', lambda images: (calls.append(1), encode(images))[1])
    one = image()
    found = predict(network, [one, one, image(1)],
                    [sample(BOXES[:1]), sample(BOXES[1:]), sample(BOXES[:1], path='b.jpg')])
    assert len(calls) == 2
    together = predict(network, [one], [sample(BOXES)])[0].pred_instances
    for row in (0, 1):
        torch.testing.assert_close(found[row].pred_instances.mask_iou[0], together.mask_iou[row])


def test_boxes_of_a_resized_frame_go_back_to_the_original(network):
    plain = predict(network, [image()], [sample(BOXES)])[0].pred_instances
    scaled = predict(network, [image()], [sample(BOXES, scale=2.)])[0].pred_instances
    assert scaled.bboxes.tolist() == plain.bboxes.tolist()
    assert scaled.masks.to_bitmaps().tolist() == plain.masks.to_bitmaps().tolist()


def test_everything_where_there_are_no_boxes(network):
    settings = dict(automatic=dict(points_per_side=2, pred_iou_thresh=-1., stability_score_thresh=0.))
    boxed, free = predict(network, [image(), image(1)], [sample(BOXES), sample(path='b.jpg')], **settings)
    assert len(boxed.pred_instances) == 2
    found = free.pred_instances
    assert len(found) and found.masks.height == SIZE[0]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    [chosen] = predict(network, [image()], [sample(BOXES)], prompts='everything', **settings)
    assert 'mask_iou' not in chosen.pred_instances


def test_clicks_come_in_rounds(network):
    [found] = predict(network, [image()], [sample(BOXES, masks=True)], prompts='clicks', clicks=(1, 2))
    assert sorted(found.pred_clicks.keys()) == ['masks_1', 'masks_2']
    predictor = ImagePredictor(network, objects_per_batch=1)
    predictor.set_tensors([image()])
    truth = sample(BOXES, masks=True).gt_instances.masks
    alone = segment_by_clicks(predictor, truth, clicks=(1, 2))
    for count in (1, 2):
        assert alone[count].to_bitmaps().tolist() == found.pred_clicks[f'masks_{count}'].to_bitmaps().tolist()
    x, y, label = center_click(truth.to_bitmaps()[0])
    first = predictor.predict(point_coords=[[x, y]], point_labels=[label])
    best = int(first.ious.argmax())
    assert first.masks[best].tolist() == alone[1].to_bitmaps()[0].tolist()
    x, y, second = center_click(truth.to_bitmaps()[0], first.masks[best].numpy())
    again = predictor.predict(point_coords=[[17, 17], [x, y]], point_labels=[label, second], multimask_output=False,
                              mask_input=first.low_res_logits[best][None])
    assert center_click(truth.to_bitmaps()[0])[:2] == (17, 17)
    assert again.masks[0].tolist() == alone[2].to_bitmaps()[0].tolist()
    none = segment_by_clicks(predictor, truth[:0], clicks=(1,))
    assert len(none[1]) == 0


def drawn(*rows):
    return np.array([[letter == '#' for letter in row] for row in rows])


@pytest.mark.parametrize('truth, predicted, want', [
    (drawn('.....', '.###.', '.###.', '.###.', '.....'), None, (2., 2., 1)),
    (drawn('.....', '.....', '.....'), drawn('.....', '..#..', '.....'), (2., 1., 0)),
    (drawn('##...', '##...'), drawn('##...', '##...'), (0., 0., 0)),  # nothing is wrong
    (drawn('###..', '###..', '###..'), drawn('....#', '....#', '....#'), (1., 1., 1)),  # the deeper error counts
])
def test_the_click_is_in_the_middle_of_the_worst(truth, predicted, want):
    assert center_click(truth, predicted) == want


@pytest.mark.parametrize('how, message', [
    (dict(prompts='words'), "prompts='words' is not one of boxes, clicks, everything"),
    (dict(clicks=(3, 1)), 'must be rising numbers'), (dict(clicks=()), 'must be rising numbers'),
])
def test_bad_settings_are_named(how, message):
    with pytest.raises(ValueError, match=message):
        ImagePrompting(**how)


@pytest.mark.parametrize('prompts, message', [('boxes', "a.jpg: prompts='boxes' needs gt_instances"),
                                              ('clicks', "a.jpg: prompts='clicks' simulates clicks")])
def test_missing_truth_is_named(network, prompts, message):
    with pytest.raises(ValueError, match=message):
        predict(network, [image()], [sample()], prompts=prompts)
