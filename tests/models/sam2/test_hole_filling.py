import numpy as np
import pytest
import torch

from maskforge.models.sam2.hole_filling import remove_small_regions, small_regions, tidy_masks


def drawn(*rows: str) -> np.ndarray:
    return np.array([[letter == '#' for letter in row] for row in rows])


RING = drawn('######', '#....#', '#.##.#', '#....#', '######')


def logits_of(bitmap: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.where(bitmap, 3., -3.)).float()


@pytest.mark.parametrize('bitmap, area, small', [
    (drawn('#..', '...', '..#'), 1, drawn('#..', '...', '..#')),
    (drawn('##.', '...', '..#'), 1, drawn('...', '...', '..#')),
    (drawn('#..', '.#.', '...'), 1, drawn('...', '...', '...')),  # touching corners connect
    (drawn('...', '...'), 4, drawn('...', '...')),
])
def test_small_regions(bitmap, area, small):
    assert (small_regions(bitmap, max_area=area) == small).all()


@pytest.mark.parametrize('settings, want', [
    (dict(), RING),
    (dict(max_hole_area=9), RING),
    (dict(max_hole_area=10), np.ones_like(RING)),
    (dict(max_sprinkle_area=2), drawn('######', '#....#', '#....#', '#....#', '######')),
    (dict(max_sprinkle_area=1), RING),
])
def test_holes_are_filled_and_islands_removed(settings, want):
    logits = torch.stack([logits_of(RING), logits_of(~RING)])[None]
    tidied = tidy_masks(logits, **settings)
    assert tidied.shape == logits.shape and (tidied[0, 0].numpy() > 0).tolist() == want.tolist()
    assert (logits[0, 0].numpy() > 0).tolist() == RING.tolist()  # the input is not written to


def test_changed_pixels_lie_by_the_margin_beyond_the_threshold():
    tidied = tidy_masks(logits_of(RING), max_hole_area=10, mask_threshold=1., margin=0.25)
    assert tidied[1, 1] == 1.25 and tidied[0, 0] == 3


@pytest.mark.parametrize('bitmap, area, want, changed', [
    (RING, 2, RING, False),
    (RING, 3, drawn('######', '#....#', '#....#', '#....#', '######'), True),
    (RING, 11, np.ones_like(RING), True),
    (drawn('#...', '..##'), 5, drawn('....', '..##'), True),  # the largest island stays
])
def test_small_regions_of_found_masks(bitmap, area, want, changed):
    if area == 11:
        bitmap, want = np.pad(RING, 1), np.pad(want, 1)
    tidied, has_changed = remove_small_regions(bitmap, max_area=area)
    assert (tidied == want).all() and has_changed == changed
