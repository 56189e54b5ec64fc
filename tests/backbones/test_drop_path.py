"""Stochastic depth."""
import pytest
import torch

from maskforge.backbones.drop_path import DropPath, linear_rates


def test_whole_samples_are_dropped_and_the_mean_stays():
    torch.manual_seed(0)
    branch = DropPath(0.25)(torch.ones(4000, 2, 3))
    per_sample = branch.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert per_sample.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert per_sample.mean().item() == pytest.approx(1, abs=0.05)


def test_evaluation_and_rate_zero_change_nothing():
    branch = torch.randn(3, 4)
    assert DropPath(0.5).eval()(branch) is branch
    assert DropPath(0)(branch) is branch
    assert 'rate=0.5' in repr(DropPath(0.5))


@pytest.mark.parametrize('rate', [-0.1, 1.0])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match=rf'drop_path_rate must be in \[0, 1\), got {rate}'):
        DropPath(rate)


def test_rates_grow_linearly():
    assert linear_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert linear_rates(0.3, 1) == [0]
