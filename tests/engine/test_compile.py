"""``compile`` in a config: every family trains as it does without."""
import pytest
import torch
from strategy_runs import FAMILIES, difference, drawn_shapes, family_config
from torch._dynamo import lookup_backend

from maskforge.engine import Runner
from maskforge.engine.model_preparation import compile_modules


class WithList(torch.nn.Module):
    compiled_parts = ('layers', 'head')

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(2))


def test_a_list_means_its_members_and_parts_may_be_missing():
    model = WithList()
    assert compile_modules(model, dict(backend='eager')) == ['layers']
    assert all(layer._compiled_call_impl is not None for layer in model.layers)
    assert model.layers._compiled_call_impl is None


@pytest.mark.parametrize(('settings', 'steps'), [(dict(mode='reduce-overhead'), 2), (dict(mode='max-autotune'), 2),
                                                  (dict(mode='default'), 0), (True, 0)])
def test_cuda_graphs_are_told_where_a_step_begins(settings, steps, monkeypatch):
    class Model(torch.nn.Sequential):
        compiled_parts = ('0',)
    begun, asked = [], []
    monkeypatch.setattr(torch.nn.Module, 'compile', lambda module, **options: asked.append(options))
    monkeypatch.setattr(torch.compiler, 'cudagraph_mark_step_begin', lambda: begun.append(1))
    model = Model(torch.nn.Linear(1, 1))
    compile_modules(model, settings)
    for _ in range(2):
        model(torch.zeros(1, 1))
    assert len(begun) == steps and asked == [{} if settings is True else settings]


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_trains_alike(family, tmp_path):
    drawn, graphs, found = drawn_shapes(tmp_path), [], []
    # Adam would make whole steps of gradients that are nothing but rounding
    plain_steps = dict(optimizer=dict(type='SGD', lr=0.1), clip_grad=dict(max_norm=1.))

    def backend(graph, inputs):
        graphs.append(graph)
        return lookup_backend('aot_eager')(graph, inputs)
    for name, compiled in (('plain', False), ('compiled', dict(backend=backend))):
        runner = Runner.from_cfg(family_config(family, drawn, tmp_path / name, iterations=2,
                                               optim_wrapper=plain_steps))
        compile_modules(runner.model, compiled)
        runner.train()
        found.append(runner.model.state_dict())
        assert bool(graphs) == (name == 'compiled')
    # the weights have moved by at least 0.005
    assert difference(*map(dict, found)) < 5e-5
