"""Zeros in the place of gradients that a step has not."""
import pytest
import torch
from torch import nn

from maskforge.engine.optim import AmpOptimWrapper, DefaultOptimWrapperConstructor, OptimWrapper
from maskforge.engine.optim.unused_parameters import drop_zero_gradients


def test_gradients_of_zeros_are_dropped():
    used, unused, without = (nn.Parameter(torch.ones(3)) for _ in range(3))
    used.grad, unused.grad = torch.tensor([0., 0., -1e-30]), torch.zeros(3)
    drop_zero_gradients([used, unused, without])
    assert used.grad is not None and unused.grad is None and without.grad is None
    drop_zero_gradients([without])


def test_what_is_not_a_number_stays():
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([0., float('nan')])
    drop_zero_gradients([parameter])
    assert parameter.grad is not None


@pytest.mark.parametrize('cls', [OptimWrapper, AmpOptimWrapper])
@pytest.mark.parametrize('zeros', [False, True])
def test_momentum_and_decay_leave_them_alone(cls, zeros):
    model = nn.Linear(2, 1)
    model.unused_get_zeros = zeros
    config = dict(type=cls.__name__, optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5))
    wrapper = DefaultOptimWrapperConstructor(config)(model)
    before = model.weight.detach().clone()
    wrapper.update_params(0 * model.weight.sum() + model.bias.sum())
    assert torch.equal(model.weight, before) == zeros
    assert bool(wrapper.optimizer.state[model.weight]) != zeros and wrapper.optimizer.state[model.bias]
