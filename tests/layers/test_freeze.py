import pytest
import torch
from torch import nn

from maskforge.layers.freeze import freeze_modules


@pytest.fixture
def model():
    return nn.ModuleDict(dict(backbone=nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)),
                              encoder=nn.ModuleDict(dict(first=nn.Linear(1, 1), second=nn.Linear(1, 1)))))


def test_modules_and_parameters(model):
    freeze_modules(model, ['backbone', 'encoder.first', 'encoder.second.bias'])
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ['encoder.second.weight']
    assert not model['backbone'].training and not model['backbone'][1].training and model['encoder'].training


def test_frozen_batch_norms_keep_their_statistics(model):
    freeze_modules(model, ['backbone'])
    before = model['backbone'][1].running_mean.clone()
    model['backbone'](torch.randn(4, 1, 2, 2) + 5)
    assert torch.equal(model['backbone'][1].running_mean, before)


@pytest.mark.parametrize(('name', 'message'), [
    ('backbon', r"no part named 'backbon'; did you mean backbone"),
    ('encoder.frist', r'did you mean encoder.first'),
    ('zzzz', r'its parts are backbone, encoder'),
    ('', r"no part named ''")])
def test_unknown_names(model, name, message):
    with pytest.raises(ValueError, match=message):
        freeze_modules(model, [name])
    assert all(p.requires_grad for p in model.parameters())
