import torch

from maskforge.layers import MLP


def test_relu_between_the_layers_only():
    mlp = MLP(2, 3, 4, num_layers=3)
    assert [tuple(layer.weight.shape) for layer in mlp.layers] == [(3, 2), (3, 3), (4, 3)]
    x = torch.randn(5, 7, 2)
    expected = x
    for index, layer in enumerate(mlp.layers):
        expected = expected @ layer.weight.T + layer.bias
        expected = expected.clamp(min=0) if index < 2 else expected
    assert torch.allclose(mlp(x), expected, atol=1e-6)
    assert next(iter(mlp.state_dict())) == 'layers.0.weight'
