import pytest
import torch

from maskforge.layers import ConvNorm


@pytest.mark.parametrize(('norm_cfg', 'keys'), [
    (None, {'conv.weight', 'conv.bias'}),
    (dict(type='BN'), {'conv.weight', 'bn.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var',
                       'bn.num_batches_tracked'}),
    (dict(type='GN', num_groups=2), {'conv.weight', 'gn.weight', 'gn.bias'})])
def test_key_names(norm_cfg, keys):
    layer = ConvNorm(3, 4, norm_cfg=norm_cfg)
    assert set(layer.state_dict()) == keys
    assert layer(torch.randn(2, 3, 5, 6)).shape == (2, 4, 5, 6)


def test_relu_is_optional():
    images = torch.randn(1, 3, 8, 8)
    assert ConvNorm(3, 4)(images).min() >= 0
    assert ConvNorm(3, 4, relu=False)(images).min() < 0
