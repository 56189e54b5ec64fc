"""Low-rank additions: what trains, what stays equal, what files hold."""
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from maskforge.checkpoints import load_weights, save_checkpoint
from maskforge.checkpoints.publish import publish
from maskforge.config import check_keys
from maskforge.inference.load_model import load_model
from maskforge.layers.lora import LoRALinear, add_lora, build_model, merge_lora
from maskforge.registry import MODELS

TARGETS = ('*.qkv', 'head')


class Toy(BaseModel):
    def __init__(self, width=6):
        super().__init__()
        self.blocks = nn.Sequential(*(nn.ModuleDict(dict(qkv=nn.Linear(4, width), proj=nn.Linear(width, 4)))
                                      for _ in range(2)))
        self.head = nn.Linear(4, 2, bias=False)
        self.attention = nn.MultiheadAttention(4, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for block in self.blocks:
            inputs = inputs + block['proj'](block['qkv'](inputs).relu())
        return self.head(inputs)


@pytest.fixture(autouse=True)
def _toy_is_registered():
    MODELS.register_module('LoRAToy', module=Toy, force=True)
    yield
    MODELS.module_dict.pop('LoRAToy', None)


@pytest.fixture
def models():
    torch.manual_seed(0)
    plain = Toy()
    adapted = copy.deepcopy(plain)
    found = add_lora(adapted, rank=3, alpha=6, targets=TARGETS)
    assert found == ['blocks.0.qkv', 'blocks.1.qkv', 'head']
    return plain, adapted


def train(model, steps=3):
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1)
    for _ in range(steps):
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_output_before_training_is_the_same(models):
    plain, adapted = models
    inputs = torch.randn(5, 4)
    assert torch.equal(adapted(inputs), plain(inputs))


def test_only_the_additions_train(models):
    plain, adapted = models
    before = copy.deepcopy(adapted.state_dict())
    assert {name for name, parameter in adapted.named_parameters() if parameter.requires_grad} == {
        f'{layer}.lora_{part}' for layer in ('blocks.0.qkv', 'blocks.1.qkv', 'head') for part in ('up', 'down')}
    changed = {name for name, tensor in train(adapted).state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    inputs = torch.randn(5, 4)
    assert not torch.allclose(adapted(inputs), plain(inputs))


def test_rank_and_scale(models):
    _, adapted = models
    layer = train(adapted).head
    assert layer.lora_down.shape == (3, 4) and layer.lora_up.shape == (2, 3) and layer.lora_scale == 2.0
    inputs = torch.randn(5, 4)
    change = 2.0 * inputs @ (layer.lora_up @ layer.lora_down).T
    torch.testing.assert_close(layer(inputs), inputs @ layer.weight.T + change)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(8, 8), rank=2, alpha=2, dropout=0.5)
    nn.init.ones_(layer.lora_up)
    inputs = torch.randn(3, 8)
    assert not torch.equal(layer(inputs), layer(inputs))
    layer.eval()
    assert torch.equal(layer(inputs), layer(inputs))


def test_further_parameters_may_train():
    model = Toy()
    add_lora(model, rank=1, targets=['head'], trainable=['blocks.1.proj.*'])
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        'head.lora_down', 'head.lora_up', 'blocks.1.proj.weight', 'blocks.1.proj.bias'}


def test_merged_equals_unmerged(models):
    plain, adapted = models
    inputs = torch.randn(5, 4)
    expected = train(adapted)(inputs)
    merged = merge_lora(copy.deepcopy(adapted))
    assert type(merged.head) is nn.Linear and merged.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(merged(inputs), expected)
    assert merge_lora(plain) is plain


def test_files(models, tmp_path):
    """Public weights load into the adapted model, its own into the plain one, published ones anywhere."""
    plain, adapted = models
    inputs = torch.randn(5, 4)
    fresh = add_to(Toy())
    report = load_weights(fresh, plain.state_dict(), min_matched=0.3)
    assert not report.unexpected and all('lora_' in name for name in report.missing)
    assert torch.equal(fresh(inputs), plain(inputs))
    expected = train(adapted)(inputs)
    save_checkpoint(dict(meta={}, state_dict=adapted.state_dict()), tmp_path / 'run.pth')
    published = publish(tmp_path / 'run.pth', tmp_path / 'given.pth')
    for path in (tmp_path / 'run.pth', published):
        other = Toy()
        report = load_weights(other, path)
        assert report.complete
        torch.testing.assert_close(other(inputs), expected)
    broken = {name: tensor for name, tensor in adapted.state_dict().items() if name != 'head.lora_up'}
    with pytest.raises(ValueError, match=r'change of head is not complete: there is no head\.lora_up'):
        load_weights(Toy(), broken)


def add_to(model):
    add_lora(model, rank=3, alpha=6, targets=TARGETS)
    return model


def test_any_model_of_a_config(models, tmp_path):
    """Trained as the config says, predicting with merged weights."""
    _, adapted = models
    cfg = Config(dict(default_scope='maskforge', model=dict(
        type='LoRAToy', width=6, lora=dict(rank=3, alpha=6, targets=list(TARGETS)))))
    assert isinstance(build_model(cfg.model).head, LoRALinear)
    assert [finding for finding in check_keys(cfg) if 'lora' in finding.key] == []
    save_checkpoint(dict(meta=dict(dataset_meta={}), state_dict=train(adapted).state_dict()), tmp_path / 'run.pth')
    model, _ = load_model(cfg, weights=tmp_path / 'run.pth', device='cpu')
    assert type(model.head) is nn.Linear
    inputs = torch.randn(5, 4)
    torch.testing.assert_close(model(inputs), adapted(inputs))


@pytest.mark.parametrize(('settings', 'word'), [
    (dict(rank=0, targets=['head']), 'rank >= 1'), (dict(rank=1, targets=['head'], dropout=1), r'dropout in \[0, 1\)'),
    (dict(rank=1, targets=['*.qvk']), r"lora.targets: no linear layer fits '\*.qvk'; near names: .*qkv"),
    (dict(rank=1, targets=['head'], trainable=['nothing']), 'lora.trainable: no parameter fits'),
    (dict(rank=1, targets=[]), 'needs targets'),
    (dict(rank=1, targets=['*.out_proj']), 'attention.out_proj is inside torch.nn.MultiheadAttention'),
])
def test_wrong_settings(settings, word):
    with pytest.raises(ValueError, match=word):
        add_lora(Toy(), **settings)


def test_twice(models):
    with pytest.raises(ValueError, match='head has a low-rank addition already'):
        add_lora(models[1], rank=1, targets=['head'])
