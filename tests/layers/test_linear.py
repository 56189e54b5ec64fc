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


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_gradients_are_torch_s(activation, bias, calls):
    theirs, x = nn.Linear(6, 5, bias=bias), torch.randn(2, 4, 3, 6)[:, 1:].requires_grad_()
    ours = Linear.of(theirs)
    inputs, factors = (x, *theirs.parameters()), torch.randn(5)
    found, wanted = (torch.autograd.grad((y * factors).sum(), inputs)
                     for y in (ours(x, activation), ACTIVATIONS[activation](theirs(x))))
    assert len(calls) == (1 if module._HAS_ONEDNN else 2)  # torch's map calls the same function
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_gradients_of_gradients(activation):
    torch.manual_seed(0)
    theirs, x = nn.Linear(6, 5), torch.randn(3, 6, requires_grad=True)
    ours = Linear.of(theirs)

    def penalty(y):
        slope, = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), (x, theirs.weight))
    for one, other in zip(penalty(ours(x, activation)), penalty(ACTIVATIONS[activation](theirs(x)))):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('trained', ['x', 'weight', 'bias'])
def test_one_of_them_alone_is_trained(trained):
    layer, x = Linear(6, 5).requires_grad_(False), torch.randn(1, 6).expand(3, 6)
    part = x.requires_grad_() if trained == 'x' else getattr(layer, trained).requires_grad_()
    layer(x, 'relu').sum().backward()
    assert part.grad.abs().sum() > 0


def test_what_a_trained_map_gives_may_be_changed_in_place():
    layer, x = Linear(6, 5), torch.randn(2, 3, 6)
    found = layer(x)
    found += 1
    found.square().sum().backward()
    wanted, = torch.autograd.grad((F.linear(x, layer.weight, layer.bias) + 1).square().sum(), layer.weight)
    torch.testing.assert_close(layer.weight.grad, wanted)


def test_precision_counts_and_other_derivatives_are_torch_s(calls):
    layer, x = Linear(6, 5), torch.randn(3, 6)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 3 * 6 * 5 and len(calls) == 2
    assert torch.func.vmap(torch.func.grad(lambda row: layer(row).sum()))(x).shape == x.shape


def test_what_stands_in_a_layer_s_place_is_called():
    class Doubled(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    layer, x = Doubled(6, 5), torch.randn(3, 6)
    assert torch.equal(activated(layer, x, 'relu'), layer(x).relu())
