import pytest
import torch

from maskforge.ops.device_values import on_device


@pytest.mark.parametrize(('values', 'dtype', 'expected'), [
    (2, None, torch.int64), (2.5, None, torch.float32), ([[1, 2]], torch.float64, torch.float64), ((), None, None)])
def test_values_stay(values, dtype, expected):
    found = on_device(values, 'cpu', dtype=dtype)
    assert found.tolist() == (list(values) if isinstance(values, tuple) else values)
    assert expected is None or found.dtype == expected
    assert on_device(values, 'meta').device.type == 'meta'
