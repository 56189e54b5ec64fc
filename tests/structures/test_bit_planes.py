"""Bits and pixels, on the CPU and by what other devices do."""
import numpy as np
import pytest
import torch

from maskforge.structures.bit_planes import _sum_bits, pack_bits, unpack_bits


@pytest.mark.parametrize('shape', [(3, 5, 1), (2, 4, 8), (2, 3, 21), (0, 4, 9), (2, 0, 9)])
@pytest.mark.parametrize('device', ['cpu', 'like a GPU', pytest.param('cuda', marks=pytest.mark.gpu)])
def test_rows_are_packed_and_unpacked(shape, device):
    bitmaps = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    packed = _sum_bits(bitmaps) if device == 'like a GPU' else pack_bits(bitmaps.to(device))
    assert packed.dtype == torch.uint8 and np.array_equal(packed.cpu(), np.packbits(bitmaps.numpy(), axis=-1))
    assert torch.equal(unpack_bits(packed, shape[-1]).cpu(), bitmaps)
