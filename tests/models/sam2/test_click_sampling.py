import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskforge.models.sam2.click_sampling import pick_pixel, sample_box, sample_click


def bitmap(*rows: str) -> torch.Tensor:
    return torch.tensor([[[character == '#' for character in row] for row in rows]])[None]


TRUTH = bitmap('......', '.###..', '.###..', '......')
FOUND = bitmap('......', '..##..', '..###.', '.....#')


def expected_click(truth, found, noise):
    """By lists of pixels: errors; without one, the background; without that, the object."""
    truth, found = truth.numpy(), np.zeros_like(truth) if found is None else found.numpy()
    for allowed in (truth != found, ~truth, truth):
        places = np.argwhere(allowed)
        if len(places):
            y, x = places[int(noise * len(places))]
            return [float(x), float(y), int(truth[y, x])]


@given(st.integers(0, 2**32), st.booleans(), st.floats(0, 1, exclude_max=True),
       st.sampled_from([0., 0.1, 0.5, 1.]), st.sampled_from([0., 0.5, 1.]))
@settings(max_examples=60, deadline=None)
def test_click_is_on_the_error(seed, from_truth, noise, share, found_share):
    generator = torch.Generator().manual_seed(seed)
    truth, found = (torch.rand(3, 1, 5, 7, generator=generator) < chance for chance in (share, found_share))
    points, labels = sample_click(truth, None if from_truth else found, torch.full((3,), noise, dtype=torch.float64))
    for row in range(3):
        want = expected_click(truth[row, 0], None if from_truth else found[row, 0], noise)
        assert [*points[row, 0].tolist(), labels[row, 0].item()] == want


def test_every_wrong_pixel_has_the_same_chance():
    wrong = (TRUTH ^ FOUND)[0, 0]
    count = int(wrong.sum())
    noise = (torch.arange(count * 10, dtype=torch.float64) + 0.5) / (count * 10)
    points, labels = sample_click(TRUTH.expand(len(noise), -1, -1, -1), FOUND.expand(len(noise), -1, -1, -1), noise)
    hits = torch.zeros_like(wrong, dtype=torch.long)
    for (x, y), label in zip(points[:, 0].long().tolist(), labels[:, 0].tolist()):
        hits[y, x] += 1
        assert label == int(TRUTH[0, 0, y, x])  # positive where the object is missed, negative where it is too much
    assert torch.equal(hits, wrong * 10)


@pytest.mark.parametrize('found', [None, TRUTH])
def test_perfect_or_absent(found):
    truth = TRUTH if found is not None else torch.zeros_like(TRUTH)
    points, labels = sample_click(truth, found, torch.tensor([0.3]))
    x, y = points[0, 0].long().tolist()
    assert labels.item() == 0 and not truth[0, 0, y, x]


def test_a_perfect_mask_of_the_whole_image():
    full = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    points, labels = sample_click(full, full, torch.tensor([0.99]))
    assert labels.item() == 1 and points.tolist() == [[[3, 3]]]


def test_noise_near_one_stays_inside():
    allowed = torch.zeros(1, 4, 4, dtype=torch.bool)
    allowed[0, 2, 1:3] = True
    for noise, place in ((0., 9), (0.5, 10), (1 - 2**-53, 10)):
        assert pick_pixel(allowed, torch.tensor([noise], dtype=torch.float64)).item() == place


def test_center_is_the_deepest_pixel():
    truth = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    truth[0, 0, 4:15, 6:17] = True
    truth[1, 0, 0:9, 0:32] = True
    found = torch.zeros_like(truth)
    found[1, 0, 0:9], found[1, 0, 20:31, 10:21] = True, True
    points, labels = sample_click(truth, found, torch.zeros(2), sampling='center')
    assert points[0, 0].tolist() == [11, 9] and labels[0].item() == 1
    depth = cv2.distanceTransform((found & ~truth)[1, 0].numpy().astype(np.uint8), cv2.DIST_L2, 0)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    assert points[1, 0].tolist() == [x, y] == [15, 25] and labels[1].item() == 0


def test_box_without_noise_is_tight():
    points, labels = sample_box(TRUTH, torch.full((4, 1), 0.5, dtype=torch.float64))
    assert points.tolist() == [[[1, 1], [3, 2]]] and labels.tolist() == [[2, 3]]


def test_box_noise_is_a_tenth_of_the_extent_and_at_most_20_pixels():
    truth = torch.zeros(2, 1, 400, 600, dtype=torch.bool)
    truth[0, 0, 100:141, 100:201] = True   # 100 wide, 40 high between outermost pixels
    truth[1, 0, 50:351, 50:551] = True     # 500 wide, 300 high: 20 pixels
    low, high = (sample_box(truth, torch.full((4, 2), noise, dtype=torch.float64))[0] for noise in (0., 1 - 1e-9))
    assert torch.allclose(low, torch.tensor([[[90., 96.], [190., 136.]], [[30., 30.], [530., 330.]]]), atol=1e-4)
    assert torch.allclose(high, torch.tensor([[[110., 104.], [210., 144.]], [[70., 70.], [570., 370.]]]), atol=1e-4)


def test_box_stays_in_the_image():
    truth = torch.ones(1, 1, 50, 80, dtype=torch.bool)
    for noise in (0., 1 - 1e-9):
        points, _ = sample_box(truth, torch.full((4, 1), noise, dtype=torch.float64))
        assert points.min() >= 0 and points[..., 0].max() <= 79 and points[..., 1].max() <= 49


def test_an_absent_object_has_no_box_but_a_click_outside():
    truth = torch.cat((TRUTH, torch.zeros_like(TRUTH)))
    points, labels = sample_box(truth, torch.full((4, 2), 0.5, dtype=torch.float64))
    assert labels.tolist() == [[2, 3], [0, -1]]
    assert points[0].tolist() == [[1, 1], [3, 2]]
    assert points[1].tolist() == [[0, 2], [0, 0]]  # pixel 12 of 24, then padding


@pytest.mark.parametrize('side', [1, 5])
def test_a_box_of_one_pixel(side):
    truth = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    truth[0, 0, 3, 3:3 + side] = True
    points, _ = sample_box(truth, torch.rand(4, 1, dtype=torch.float64))
    assert points[0, :, 1].tolist() == [3, 3]  # no extent, no noise
