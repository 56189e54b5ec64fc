import numpy as np
import pytest
import torch
from tiny_sam2 import tiny_sam2_network
from torch.nn import functional as F

from maskforge.models.sam2.image_predictor import ImagePredictor
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.structures import Prompts

SIZE = (50, 90)


def image(seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return tiny_sam2_network(image_size=64).eval()


@pytest.fixture
def predictor(network):
    predictor = ImagePredictor(network)
    predictor.set_image(image())
    return predictor


def test_it_is_the_network_on_the_resized_image_and_scaled_prompts(network, predictor):
    masks, ious, low = predictor.predict(point_coords=[[45, 25], [9, 10]], point_labels=[1, 0], return_logits=True)
    inputs = predictor.scaling.images(torch.from_numpy(image().transpose(2, 0, 1).copy())[None], torch.device('cpu'))
    with torch.no_grad():
        features = network.encode_images(inputs)
        s16 = network.condition(features.s16, MemoryBank(), 0, num_frames=1, initial=True)
        want = network.sam_heads(features.with_s16(s16), Prompts(torch.tensor([[[32., 32.], [6.4, 12.8]]]),
                                                                 torch.tensor([[1, 0]])), multimask=True)
    assert masks.shape == (3, *SIZE) and ious.shape == (3,) and low.shape == (3, 16, 16)
    torch.testing.assert_close(low, want.ungated_low[0].clamp(-32, 32))
    torch.testing.assert_close(ious, want.ious[0])
    torch.testing.assert_close(masks, F.interpolate(want.ungated_low, SIZE, mode='bilinear')[0])


@pytest.mark.parametrize('given, axes', [
    (dict(point_coords=[[5, 5]], point_labels=[1]), ()),
    (dict(point_coords=np.full((3, 1, 2), 5.), point_labels=np.ones((3, 1), int)), (3,)),
    (dict(box=[1, 2, 30, 40]), ()),
    (dict(box=[[1, 2, 30, 40]] * 4), (4,)),
    (dict(box=[[1, 2, 30, 40]] * 2, point_coords=np.full((2, 3, 2), 5.), point_labels=np.ones((2, 3), int)), (2,)),
    (dict(mask_input=np.zeros((1, 16, 16), np.float32)), ()),
])
@pytest.mark.parametrize('several', [True, False])
def test_shapes_follow_the_prompts(predictor, given, axes, several):
    masks, ious, low = predictor.predict(**given, multimask_output=several)
    count = 3 if several else 1
    assert masks.shape == (*axes, count, *SIZE) and masks.dtype == torch.bool
    assert ious.shape == (*axes, count) and low.shape == (*axes, count, 16, 16)


def test_objects_go_through_the_decoder_in_batches(network, predictor):
    boxes = np.array([[x, 3, x + 20, 40] for x in range(0, 50, 10)])
    other = ImagePredictor(network, objects_per_batch=2)
    other.set_image(image())
    for one, two in zip(predictor.predict(box=boxes, return_logits=True), other.predict(box=boxes, return_logits=True)):
        torch.testing.assert_close(one, two)
    alone = predictor.predict(box=boxes[3], return_logits=True)
    torch.testing.assert_close(alone.masks, predictor.predict(box=boxes, return_logits=True).masks[3])


def test_images_of_different_sizes_at_once(network, predictor):
    both = ImagePredictor(network)
    both.set_images([image(), image(1, (70, 40))])
    found = both.predict_batch(point_coords=[[[45, 25]], np.full((2, 1, 2), 30.)],
                               point_labels=[[1], np.ones((2, 1), int)])
    assert [tuple(one.masks.shape) for one in found] == [(3, *SIZE), (2, 3, 70, 40)]
    torch.testing.assert_close(found[0].low_res_logits,
                               predictor.predict(point_coords=[[45, 25]], point_labels=[1]).low_res_logits)
    with pytest.raises(ValueError, match='box has 1 entries for 2 images'):
        both.predict_batch(box=[[1, 2, 3, 4]])
    with pytest.raises(IndexError, match='image 2 does not exist; 2 are set'):
        both.predict(box=[1, 2, 3, 4], image=2)


def test_an_earlier_mask_is_a_prompt(predictor):
    first = predictor.predict(point_coords=[[45, 25]], point_labels=[1])
    best = int(first.ious.argmax())
    given = dict(point_coords=[[45, 25], [2, 2]], point_labels=[1, 0], multimask_output=False)
    again = predictor.predict(**given, mask_input=first.low_res_logits[best][None])
    assert not torch.equal(again.low_res_logits, predictor.predict(**given).low_res_logits)


def unstable_logits(network):
    """Masks so flat that a threshold of 100 makes all of them unstable."""
    return dict(stability_delta=100., stability_threshold=0.5)


def test_an_unstable_mask_gives_way_to_the_best_of_three(network, predictor):
    given = dict(point_coords=[[45, 25], [40, 20]], point_labels=[1, 1])
    several = predictor.predict(**given)
    dynamic = ImagePredictor(network, dynamic_multimask=True, **unstable_logits(network))
    dynamic.set_image(image())
    found = dynamic.predict(**given, multimask_output=False)
    assert torch.equal(found.masks[0], several.masks[several.ious.argmax()])
    off = ImagePredictor(network, dynamic_multimask=False, **unstable_logits(network))
    off.set_image(image())
    plain = predictor.predict(**given, multimask_output=False)
    assert torch.equal(off.predict(**given, multimask_output=False).low_res_logits, plain.low_res_logits)
    assert not network.settings.dynamic_multimask_via_stability  # the network is as it was


def test_thresholds_and_small_regions_act(network, predictor):
    given = dict(point_coords=[[45, 25]], point_labels=[1])
    logits = predictor.predict(**given, return_logits=True).masks
    middle = float(logits.median())
    raised = ImagePredictor(network, mask_threshold=middle)
    raised.set_image(image())
    assert torch.equal(raised.predict(**given).masks, logits > middle)
    tidy = ImagePredictor(network, mask_threshold=middle, max_hole_area=10**6, max_sprinkle_area=0)
    tidy.set_image(image())
    assert tidy.predict(**given).masks.all()
    gone = ImagePredictor(network, mask_threshold=middle, max_sprinkle_area=10**6)
    gone.set_image(image())
    assert not gone.predict(**given).masks.any()


def test_other_channels_other_normalisation(network, predictor):
    rgb = ImagePredictor(network)
    rgb.set_image(image()[..., ::-1], channels='rgb')
    given = dict(point_coords=[[45, 25]], point_labels=[1])
    assert torch.equal(rgb.predict(**given).low_res_logits, predictor.predict(**given).low_res_logits)
    other = ImagePredictor(network, mean=(0., 0., 0.), std=(1., 1., 1.))
    other.set_image(image())
    assert not torch.equal(other.predict(**given).low_res_logits, predictor.predict(**given).low_res_logits)


def test_errors(network):
    with pytest.raises(ValueError, match='objects_per_batch=0'):
        ImagePredictor(network, objects_per_batch=0)
    predictor = ImagePredictor(network)
    with pytest.raises(ValueError, match=r'no image is set: call set_image'):
        predictor.predict(box=[1, 2, 3, 4])
    with pytest.raises(ValueError, match='there is no image'):
        predictor.set_images([])
    predictor.set_image(image())
    predictor.reset()
    with pytest.raises(ValueError, match='no image is set'):
        predictor.predict(box=[1, 2, 3, 4])
