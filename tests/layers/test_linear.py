"""Linear maps by oneDNN."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from maskforge.layers import linear as module
from maskforge.layers.linear import ACTIVATIONS, Linear, activated


@pytest.fixture
def calls(monkeypatch):
    """What torch's own map is called with."""
    made, own = [], F.linear
    monkeypatch.setattr(module.F, 'linear', lambda *args: made.append(args) or own(*args))
    return made


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('activation', ACTIVATIONS)
@torch.no_grad()
def test_same_numbers_as_torch_s(activation, bias, calls):
    theirs = nn.Linear(6, 5, bias=bias)
    ours = Linear.of(theirs)
    assert ours.weight is theirs.weight and ours.bias is theirs.bias
    for x in (torch.randn(3, 6), torch.randn(2, 4, 3, 6).transpose(0, 2), torch.randn(6), torch.randn(0, 6)):
        calls.clear()
        found = ours(x, activation)
        assert bool(calls) == (x.numel() == 0 or not module._HAS_ONEDNN)
        torch.testing.assert_close(found, ACTIVATIONS[activation](theirs(x)), rtol=1e-5, atol=1e-6)


def test_gradients_precision_and_counts_are_torch_s(calls):
    layer, x = Linear(6, 5), torch.randn(3, 6)
    layer(x, 'relu').sum().backward()
    assert layer.weight.grad is not None and len(calls) == 1
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 3 * 6 * 5 and len(calls) == 3


def test_what_stands_in_a_layer_s_place_is_called():
    class Doubled(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    layer, x = Doubled(6, 5), torch.randn(3, 6)
    assert torch.equal(activated(layer, x, 'relu'), layer(x).relu())
