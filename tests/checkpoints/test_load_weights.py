"""Recognising, mapping and matching weights."""
import pytest
import torch
from torch import nn

from maskforge.checkpoints import CheckpointLayout, load_weights, unwrap
from maskforge.registry import CHECKPOINT_LAYOUTS


class Tiny(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.backbone = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, classes)


@pytest.fixture
def layout():
    @CHECKPOINT_LAYOUTS.register_module(force=True)
    class TinyElsewhere(CheckpointLayout):
        models = ('Tiny',)

        def matches(self, state_dict):
            return 'trunk.weight' in state_dict

        def to_ours(self, state_dict, model):
            return {name.replace('trunk', 'backbone'): tensor for name, tensor in state_dict.items()}

        def from_ours(self, state_dict, model):
            return {name.replace('backbone', 'trunk'): tensor for name, tensor in state_dict.items()}

    yield TinyElsewhere
    del CHECKPOINT_LAYOUTS.module_dict['TinyElsewhere']


@pytest.mark.parametrize('wrap', [
    lambda state: state,
    lambda state: dict(state_dict=state, meta={}),
    lambda state: dict(model=state),
    lambda state: dict(model=dict(state_dict=state), args=None),
    lambda state: dict(state_dict_ema=state),
    lambda state: {f'module.{k}': v for k, v in state.items()},
    lambda state: dict(state_dict={f'module._orig_mod.{k}': v for k, v in state.items()}),
    lambda state: {k.replace('backbone.', 'backbone._orig_mod.'): v for k, v in state.items()},
])
def test_containers_and_prefixes(wrap):
    source, target = Tiny(), Tiny()
    report = load_weights(target, wrap(source.state_dict()))
    assert report.complete and report.share == 1
    assert torch.equal(source.head.weight, target.head.weight)


def test_layouts_are_recognised(layout):
    source, target = Tiny(), Tiny()
    report = load_weights(target, layout().from_ours(source.state_dict(), source))
    assert report.layout == 'TinyElsewhere' and report.complete
    assert torch.equal(source.backbone.weight, target.backbone.weight)


def test_layouts_of_other_models_are_not_asked(layout):
    class Other(Tiny):
        pass
    layout.models = ('SomethingElse',)
    with pytest.raises(ValueError, match='are in it'):
        load_weights(Other(), {'trunk.weight': torch.zeros(4, 4)})


def test_other_class_count_is_dropped_and_listed():
    target = Tiny(classes=5)
    before = target.head.weight.clone()
    report = load_weights(target, dict(Tiny().state_dict(), extra=torch.ones(1)))
    assert report.mismatched == [('head.weight', (3, 4), (5, 4)), ('head.bias', (3,), (5,))]
    assert report.unexpected == ['extra'] and torch.equal(before, target.head.weight)
    text = report.summary()
    assert 'dropped, other shape: head.weight: (3, 4) in the file, (5, 4) in the model' in text
    assert 'not in the model: extra' in text and '7 of 9 tensors loaded' in text


def test_missing_is_grouped():
    state = {k: v for k, v in Tiny().state_dict().items() if not k.startswith('norm')}
    report = load_weights(Tiny(), state)
    assert 'norm.weight' in report.missing and 'norm.num_batches_tracked' not in report.missing
    assert 'not in the file' in report.summary()


@pytest.mark.parametrize(('state', 'text'), [
    ({'conv.weight': torch.zeros(1)}, r'only 0 of the 8 tensors of Tiny are in it \(0%; at least 50% must be\).*'
                                      r'The file has conv\.weight.*the model wants backbone\.weight.*lower least'),
    ({'meta': {}}, 'there are no weights in it: the top level holds meta'),
])
def test_too_little(state, text):
    with pytest.raises(ValueError, match=text):
        load_weights(Tiny(), state, setting='least')


def test_least_share_can_be_set():
    assert load_weights(Tiny(), {'backbone.weight': torch.zeros(4, 4)}, min_matched=0).matched == ['backbone.weight']


def test_unwrap_finds_nested_weights():
    assert list(unwrap(dict(ema=dict(a=torch.ones(1))))) == ['a']
