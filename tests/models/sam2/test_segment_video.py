import numpy as np
import pytest
import torch
from tiny_sam2 import tiny_sam2_network

from maskforge.models.sam2.video_predictor import VideoPredictor, segment_video
from maskforge.structures import ClipSample, InstanceMasks, VideoFrames, VideoMasks

SIZE, FRAMES = (40, 60), 4


def frame(place):
    return torch.from_numpy(np.random.default_rng(place).integers(0, 256, (3, 32, 32), np.uint8))


def box(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def masks(place):
    found = {1: box(5, 5, 20, 20), 2: box(25, 10, 50, 30)} if place == 0 else {1: box(6, 5, 21, 20)}
    return found | ({9: box(30, 20, 55, 38)} if place >= 2 else {9: np.zeros(SIZE, bool)})


def item(annotated=range(FRAMES)):
    sample = ClipSample(metainfo=dict(video_name='clip', ori_shape=SIZE))
    sample.gt_frames = VideoMasks(masks, list(annotated))
    return dict(inputs=VideoFrames([str(t) for t in range(FRAMES)], frame, ori_shape=SIZE), data_samples=sample)


@pytest.fixture(scope='module')
def network():
    network = tiny_sam2_network(image_size=32).eval()
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(5)
    return network


@pytest.fixture(scope='module')
def found(network):
    return segment_video(network, item(), non_overlap_masks=False)


def test_objects_join_where_they_are_first_to_be_seen(found):
    assert {number: [mask is not None for mask in codes] for number, codes in found.pred_masks.items()} == {
        1: [True] * 4, 2: [True] * 4, 9: [False, False, True, True]}
    assert found.pred_scores[9][:2] == [0., 0.] and min(found.pred_scores[9][2:]) > 0.5
    assert all(tuple(code['size']) == SIZE for code in found.pred_masks[1])
    first = InstanceMasks.from_rles([found.pred_masks[1][0]]).to_bitmaps()[0]
    assert (first == masks(0)[1]).mean() > 0.95


@pytest.mark.parametrize('number, start', [(2, 0), (9, 2)])
def test_one_pass_is_as_a_pass_per_object(network, found, number, start):
    session = VideoPredictor(network).open(item()['inputs'])
    session.add_mask(start, number, masks(start)[number])
    for result in session.propagate():
        mask = InstanceMasks.from_rles([found.pred_masks[number][result.frame]]).to_bitmaps()[0]
        assert (mask == result.masks[0].numpy()).mean() > 0.999


def test_only_the_objects_of_the_first_masks(network, found):
    fewer = segment_video(network, item(), later_objects=False, non_overlap_masks=False)
    assert fewer.pred_masks[9] == [None] * 4 and fewer.pred_masks[1] == found.pred_masks[1]


def test_all_true_masks_may_be_used(network, found):
    guided = segment_video(network, item(), use_all_masks=True, non_overlap_masks=False)
    assert guided.pred_masks[1][0] == found.pred_masks[1][0] and guided.pred_masks[1][3] != found.pred_masks[1][3]
    last = InstanceMasks.from_rles([guided.pred_masks[1][3]]).to_bitmaps()[0]
    assert (last == masks(3)[1]).mean() > 0.95


def test_masks_do_not_overlap_unless_asked(network):
    apart = segment_video(network, item())
    for place in range(FRAMES):
        codes = [codes[place] for codes in apart.pred_masks.values() if codes[place]]
        assert InstanceMasks.from_rles(codes).to_bitmaps().sum(0).max() <= 1


def test_a_video_without_objects_is_named(network):
    empty = item()
    empty['data_samples'].gt_frames = VideoMasks(lambda place: {}, [0])
    with pytest.raises(ValueError, match="video 'clip': its annotations show no object"):
        segment_video(network, empty)
