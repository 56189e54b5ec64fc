"""Parameter groups from ``paramwise_cfg``, and what errors say."""

import importlib.util

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor as Stock
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from maskforge.engine.optim import (
    AmpOptimWrapper,
    DefaultOptimWrapperConstructor,
    LayerDecayOptimWrapperConstructor,
    OptimWrapper,
)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(1))
        self.conv_offset = nn.Conv2d(4, 2, 3)

    def layer_id(self, name):
        return int(name.split('.')[1]) if name.startswith('backbone') else None


OPTIMIZER = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4)


def build(paramwise=None, kind=DefaultOptimWrapperConstructor, model=None, optimizer=OPTIMIZER, **wrapper):
    return kind(dict(optimizer=optimizer, **wrapper), paramwise)(model or Toy())


def by_parameter(wrapper, model):
    groups = {id(parameter): (group['lr'], group['weight_decay'])
              for group in wrapper.optimizer.param_groups for parameter in group['params']}
    return {name: groups[id(parameter)] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize('paramwise', [
    None, dict(norm_decay_mult=0.0), dict(bias_lr_mult=2.0, bias_decay_mult=0.0), dict(dwconv_decay_mult=0.5),
    dict(flat_decay_mult=0.0), dict(flat_decay_mult=0.1, norm_decay_mult=0.2, bias_decay_mult=0.3),
    dict(custom_keys={'backbone': dict(lr_mult=0.1, decay_mult=0.9), 'backbone.1': dict(decay_mult=0.0)}),
    dict(custom_keys={'head': dict(lr_mult=10.0)}, norm_decay_mult=0.0, bias_lr_mult=2.0),
])
def test_settings_equal_mmengine(paramwise):
    ours, theirs = Toy(), Toy()
    theirs_wrapper = Stock(dict(type='OptimWrapper', optimizer=dict(OPTIMIZER)), paramwise)(theirs)
    assert by_parameter(build(paramwise, model=ours), ours) == by_parameter(theirs_wrapper, theirs)


def test_equal_settings_share_a_group():
    wrapper = build(dict(norm_decay_mult=0.0, custom_keys={'head': dict(lr_mult=0.1)}))
    assert [len(group['params']) for group in wrapper.optimizer.param_groups] == [1 + 6, 4, 2]


def test_options_of_the_optimizer_by_key():
    wrapper = build(dict(custom_keys={'head': dict(momentum=0.5, lr=0.3)}))
    assert {(group['lr'], group['momentum']) for group in wrapper.optimizer.param_groups} == {(0.02, 0.9), (0.3, 0.5)}


def test_decay_by_kind_within_a_key():
    """Norms and embeddings of a part with a rate of its own; elsewhere the options of the whole model."""
    model = Toy()
    model.queries = nn.Embedding(3, 4)
    model.backbone.register_parameter('absolute_pos_embed', nn.Parameter(torch.ones(1, 4)))
    found = by_parameter(build(dict(
        norm_decay_mult=0.0, embedding_decay_mult=0.5,
        custom_keys={'backbone': dict(lr_mult=0.1, norm_decay_mult=0.0, embedding_decay_mult=0.25)}), model=model),
        model)
    assert found['queries.weight'] == (0.02, 5e-5) and found['norm.weight'] == found['norm.bias'] == (0.02, 0.0)
    assert found['head.weight'] == found['head.bias'] == (0.02, 1e-4)
    slow = pytest.approx(0.002)
    assert found['backbone.absolute_pos_embed'] == (slow, 2.5e-5)
    assert found['backbone.1.weight'] == found['backbone.1.bias'] == (slow, 0.0)
    assert found['backbone.0.weight'] == found['backbone.2.bias'] == (slow, 1e-4)


def test_frozen_parameters_are_left_out():
    model = Toy()
    model.backbone.requires_grad_(False)
    groups = build(dict(norm_decay_mult=0.0), model=model).optimizer.param_groups
    assert sum(len(group['params']) for group in groups) == 7


def test_offsets_of_deformable_convolutions():
    class DeformConv2d(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_offset = nn.Conv2d(4, 2, 3)

    model = nn.ModuleDict(dict(dcn=DeformConv2d(), toy=Toy()))
    found = by_parameter(build(dict(dcn_offset_lr_mult=0.1, bias_lr_mult=2.0, bias_decay_mult=0.0), model=model), model)
    assert found['dcn.conv_offset.bias'] == found['dcn.conv_offset.weight'] == (pytest.approx(0.002), 1e-4)
    assert found['toy.head.bias'] == found['toy.conv_offset.bias'] == (0.04, 0.0)


def test_shared_parameters():
    model = Toy()
    model.head2 = model.head
    config = dict(custom_keys={'head2': dict(lr_mult=0.1)})
    with pytest.raises(ValueError, match=r'head.weight and head2.weight are the same parameter'):
        build(config, model=model)
    found = by_parameter(build(dict(config, bypass_duplicate=True), model=model), model)
    assert found['head.weight'][0] == 0.02
    build(dict(norm_decay_mult=0.0), model=model)


def test_verbose_lists_every_group(engine_log):
    build(dict(verbose=True, custom_keys={'backbone': dict(lr_mult=0.1)}))
    text = '\n'.join(engine_log)
    assert 'lr=0.002 (x 0.1): 6 parameters: backbone.0.weight, backbone.0.bias' in text
    assert 'lr=0.02 (x 1): 7 parameters: scale' in text


def test_unused_key_names_near_ones(engine_log):
    build(dict(custom_keys={'bakbone': dict(lr_mult=0.1)}))
    assert any("custom_keys['bakbone'] matches no parameter" in line and 'backbone' in line for line in engine_log)


@pytest.mark.parametrize(('paramwise', 'optimizer', 'error', 'word'), [
    (dict(norm_decay_mul=0), OPTIMIZER, ValueError, 'did you mean norm_decay_mult'),
    (dict(norm_decay_mult=0), dict(type='SGD', lr=0.1), ValueError, 'optimizer.weight_decay, which is not set'),
    (dict(bias_lr_mult=2), dict(type='AdamW'), ValueError, 'optimizer.lr, which is not set'),
    (dict(custom_keys=['backbone']), OPTIMIZER, ValueError, 'dict of dicts'),
    (None, dict(type='AdmW', lr=0.1), KeyError, 'did you mean .*AdamW'),
    pytest.param(None, dict(type='Adafactor', lr=0.1), KeyError, 'TorchAdafactor', marks=pytest.mark.skipif(
        importlib.util.find_spec('transformers') is not None, reason='transformers brings an Adafactor')),
    (None, dict(type='Lion', lr=0.1), KeyError, 'lion-pytorch'),
    (None, dict(lr=0.1), ValueError, 'has no type'),
])
def test_wrong_configs(paramwise, optimizer, error, word):
    with pytest.raises(error, match=word):
        build(paramwise, optimizer=optimizer)


def test_no_optimizer_and_nothing_to_train():
    with pytest.raises(ValueError, match='optim_wrapper has no optimizer'):
        DefaultOptimWrapperConstructor(dict(type='OptimWrapper'))
    with pytest.raises(ValueError, match='requires a gradient'):
        build(model=Toy().requires_grad_(False))


def test_layer_decay():
    model = Toy()
    found = by_parameter(build(dict(decay_rate=0.5, custom_keys={'backbone.1': dict(lr_mult=10)}),
                               LayerDecayOptimWrapperConstructor, model), model)
    rates = {name: rate for name, (rate, _) in found.items()}
    assert rates['backbone.0.weight'] == pytest.approx(0.02 * 0.25)
    assert rates['backbone.1.weight'] == pytest.approx(0.2 * 0.5)
    assert rates['backbone.2.weight'] == rates['head.weight'] == 0.02


@pytest.mark.parametrize(('paramwise', 'model', 'word'), [
    (None, Toy(), 'decay_rate must lie in'), (dict(decay_rate=1.5), Toy(), r'got 1.5'),
    (dict(decay_rate=0.5), nn.Linear(1, 1), 'Linear has no method layer_id'),
])
def test_wrong_layer_decay(paramwise, model, word):
    with pytest.raises(ValueError, match=word):
        build(paramwise, LayerDecayOptimWrapperConstructor, model)


@pytest.mark.parametrize(('config', 'kind'), [(dict(), OptimWrapper), (dict(type='AmpOptimWrapper'), AmpOptimWrapper)])
def test_mmengine_builds_ours_in_our_scope(config, kind):
    with DefaultScope.overwrite_default_scope('maskforge'):
        wrapper = build_optim_wrapper(Toy(), dict(optimizer=OPTIMIZER, **config))
    assert type(wrapper) is kind
