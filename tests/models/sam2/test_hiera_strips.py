"""Windows of a map in order, and attention without padding."""
import pytest
import torch
from torch.nn import functional as F

from maskforge.models.sam2.hiera_strips import Windows, attend_in_windows, pooled, strip_rows, window_order


@pytest.mark.parametrize(('size', 'window', 'kinds'), [
    ((4, 6), (2, 3), [(4, 2, 3)]),
    ((4, 6), (4, 6), [(1, 4, 6)]),
    ((5, 7), (2, 3), [(4, 2, 3), (2, 2, 1), (2, 1, 3), (1, 1, 1)]),
    ((2, 7), (4, 3), [(2, 2, 3), (1, 2, 1)]),
    ((2, 2), (4, 3), [(1, 2, 2)]),
])
def test_order_of_windows(size, window, kinds):
    order = window_order(size, window)
    assert list(order.kinds) == kinds
    x = torch.arange(2 * size[0] * size[1] * 3.).reshape(2, *size, 3)
    places = order.windows_of(x)
    high, wide = order.kinds[0][1:]
    assert torch.equal(places[:, :high * wide], x[:, :high, :wide].flatten(1, 2))
    assert torch.equal(order.map_of(places), x.flatten(1, 2))


def test_missing_places_count_as_one_key_of_their_number():
    torch.manual_seed(0)
    places, filler = torch.randn(2, 6, 12), torch.randn(12)
    found = attend_in_windows(places, [Windows(1, 2, 3)], filler, window=(3, 5), stride=(1, 1), heads=2)
    filled = torch.cat((places, filler.expand(2, 9, -1)), 1)
    q, k, v = filled.reshape(2, 15, 3, 2, 2).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 15, 4)[:, :6]
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(('shape', 'window', 'rows'), [
    ((1, 128, 128, 96), (8, 8), 16), ((2, 128, 128, 96), (8, 8), 8), ((1, 512, 512, 96), (8, 8), 8)])
def test_strips_are_of_whole_windows(shape, window, rows):
    assert strip_rows(torch.empty(shape, device='meta'), window) == rows


def test_pooled_equals_torch_s():
    x = torch.randn(2, 6, 4, 3)
    assert torch.equal(pooled(x, (3, 2)), F.max_pool2d(x.permute(0, 3, 1, 2), (3, 2)).permute(0, 2, 3, 1))
