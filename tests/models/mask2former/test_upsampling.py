import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from maskforge.models.mask2former.upsampling import Resize, linear_taps

sides = st.integers(1, 40)
sizes = st.tuples(sides, sides)


def interpolate(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(image[None], size=size, mode='bilinear', align_corners=False)[0]


def whole(resize: Resize, image: torch.Tensor) -> torch.Tensor:
    return resize.strip(image, 0, len(resize.rows.first))


@given(sizes, sizes)
def test_one_resize_is_pytorchs(source, target):
    image = torch.randn(2, *source)
    want = interpolate(image.double(), target)
    torch.testing.assert_close(whole(Resize.between(source, target), image), want.float(), atol=1e-6, rtol=1e-5)


@given(sizes, sizes, sizes, st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_resize_crop_resize_in_one_step(source, padded, original, part):
    inner = tuple(max(1, round(share * side)) for share, side in zip(part, padded))
    image = torch.randn(2, *source)
    want = interpolate(interpolate(image.double(), padded)[:, :inner[0], :inner[1]], original)
    resize = Resize.between(source, padded).cropped(inner).then(Resize.between(inner, original))
    torch.testing.assert_close(whole(resize, image), want.float(), atol=1e-6, rtol=1e-5)


@given(sizes, sizes, st.integers(1, 7))
def test_strips_are_the_same_bits(source, target, rows):
    image, resize = torch.randn(3, *source), Resize.between(source, target)
    parts = [resize.strip(image, low, min(low + rows, target[0])) for low in range(0, target[0], rows)]
    assert torch.equal(torch.cat(parts, dim=1), whole(resize, image))


@pytest.mark.parametrize(('source', 'target', 'width'), [(7, 7, 1), (1, 5, 1), (5, 20, 2), (20, 5, 2), (4, 1, 2)])
def test_only_neighbours_are_read(source, target, width):
    assert linear_taps(source, target).weights.shape == (target, width)


def test_a_resize_that_changes_nothing_copies_nothing():
    image = torch.randn(2, 5, 6)
    resize = Resize.between((5, 6), (5, 6)).then(Resize.between((5, 6), (5, 6)))
    assert whole(resize, image).data_ptr() == image.data_ptr()
