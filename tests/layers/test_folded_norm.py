"""A batch norm inside the convolution before it."""
import copy

import pytest
import torch
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from maskforge.layers.folded_norm import FoldedConvNorm, conv_norm


def make_pair(kind: type, **conv) -> tuple[nn.Conv2d, nn.Module]:
    torch.manual_seed(0)
    norm = kind(6)
    for name, low in (('weight', 0.5), ('bias', -1), ('running_mean', -1), ('running_var', 0.1)):
        getattr(norm, name).data.uniform_(low, 2)
    return nn.Conv2d(4, 6, 3, bias=False, **conv).double(), norm.double().eval()


@pytest.mark.parametrize('kind', [nn.BatchNorm2d, FrozenBatchNorm2d])
@pytest.mark.parametrize('conv', [dict(), dict(stride=2, padding=1), dict(dilation=2, groups=2)])
def test_equals_the_two_layers(kind, conv, monkeypatch):
    layers, results = make_pair(kind, **conv), []
    images = torch.randn(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    trained = [images, *(p for layer in layers for p in layer.parameters())]
    for run in (lambda: layers[1](layers[0](images)), lambda: conv_norm(*layers, images)):
        result = run()
        results.append([result, *torch.autograd.grad((result * result.detach().sin()).sum(), trained)])
        # the second way must not be the first
        monkeypatch.setattr(kind, 'forward', None)
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)


def test_is_seen_where_somebody_looks():
    conv, norm = make_pair(nn.BatchNorm2d)
    images, seen = torch.randn(2, 4, 9, 8, dtype=torch.float64), []
    handle = norm.register_forward_hook(lambda *_: seen.append(1))
    conv_norm(conv, norm, images)
    handle.remove()
    conv_norm(conv, norm, images)
    assert len(seen) == 1


@pytest.mark.parametrize('change', [
    lambda conv, norm: (conv, norm.train()),
    lambda conv, norm: (conv, nn.BatchNorm2d(6, affine=False).double().eval()),
    lambda conv, norm: (conv, nn.GroupNorm(2, 6).double()),
    lambda conv, norm: (conv, nn.Identity()),
    lambda conv, norm: (nn.utils.parametrizations.weight_norm(conv), norm),
    lambda conv, norm: (nn.Conv2d(4, 6, 3).double(), norm),
    lambda conv, norm: (nn.Conv2d(4, 6, 3, bias=False, padding=1, padding_mode='circular').double(), norm)])
def test_what_cannot_be_folded_is_run_as_it_is(change):
    conv, norm = change(*make_pair(nn.BatchNorm2d))
    images, twin = torch.randn(2, 4, 9, 8, dtype=torch.float64), copy.deepcopy(norm)
    torch.testing.assert_close(conv_norm(conv, norm, images), twin(conv(images)), rtol=0, atol=0)


def test_exported_files_keep_the_layers():
    pair = FoldedConvNorm(*make_pair(nn.BatchNorm2d))
    traced = torch.jit.trace(pair, torch.randn(1, 4, 5, 5, dtype=torch.float64))
    assert 'batch_norm' in str(traced.inlined_graph)
    assert list(pair.state_dict())[:2] == ['0.weight', '1.weight']
