"""Accumulation, clipping, mixed precision and the exact state."""
import copy
import warnings

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from maskforge.engine.optim import AmpOptimWrapper, OptimWrapper


def make(kind=OptimWrapper, lr=0.1, optimizer=torch.optim.SGD, seed=0, **options):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    extra = dict(momentum=0.9) if optimizer is torch.optim.SGD else {}
    return model, kind(optimizer=optimizer(model.parameters(), lr=lr, **extra), **options)


def batches(count, size=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 3, generator=generator) for _ in range(count)]


def train(model, wrapper, data):
    for batch in data:
        with wrapper.optim_context(model):
            loss = model(batch).square().mean()
        wrapper.update_params(loss)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize('count', [4, 5, 6, 7])
def test_accumulation_equals_big_batches(count):
    data = batches(count)
    small, wrapper = make(accumulative_counts=3)
    wrapper.initialize_count_status(small, 0, count)
    train(small, wrapper, data)
    big, reference = make()
    reference.initialize_count_status(big, 0, -1)
    train(big, reference, [torch.cat(data[i:i + 3]) for i in range(0, count, 3)])
    torch.testing.assert_close(weights(small), weights(big))


@pytest.mark.parametrize('config', [dict(max_norm=0.1), dict(type='full', max_norm=0.1, norm_type=2),
                                    dict(type='norm', max_norm=0.1)])
def test_clip_by_norm(config):
    given = copy.deepcopy(config)
    model, wrapper = make(clip_grad=config)
    assert config == given
    model(batches(1)[0]).square().sum().mul(100).backward()
    reference = [parameter.grad.clone() for parameter in model.parameters()]
    norm = torch.cat([gradient.flatten() for gradient in reference]).norm()
    wrapper.step()
    for parameter, gradient in zip(model.parameters(), reference):
        torch.testing.assert_close(parameter.grad, gradient * 0.1 / (norm + 1e-6))
    logged = MessageHub.get_current_instance().get_scalar('train/grad_norm').current()
    assert logged == pytest.approx(norm.item())


def test_clip_each_parameter_by_its_own_norm():
    model, wrapper = make(clip_grad=dict(type='per_parameter', max_norm=0.1))
    model(batches(1)[0]).square().sum().mul(100).backward()
    wrapper.step()
    norms = [parameter.grad.norm().item() for parameter in model.parameters()]
    assert len(norms) > 1 and norms == pytest.approx([0.1] * len(norms), rel=1e-3)


def test_clip_by_value_and_off():
    model, wrapper = make(clip_grad=dict(type='value', clip_value=1e-3))
    model(batches(1)[0]).square().sum().mul(100).backward()
    wrapper.step()
    assert max(parameter.grad.abs().max() for parameter in model.parameters()) <= 1e-3
    for off in (None, dict(max_norm=0), dict(type='value', clip_value=0.0)):
        assert not make(clip_grad=off)[1].clipping


@pytest.mark.parametrize(('options', 'word'), [
    (dict(clip_grad=dict(type='global', max_norm=1)), "one of norm, full, per_parameter, value, got 'global'"),
    (dict(clip_grad=dict(max_nrom=1)), 'did you mean max_norm'),
    (dict(clip_grad=dict(norm_type=2)), 'needs max_norm'),
    (dict(clip_grad=dict(max_norm=-1)), 'got -1'),
    (dict(accumulative_counts=0), 'at least 1'),
    (dict(optimizer=torch.optim.LBFGS), 'LBFGS'),
    (dict(kind=AmpOptimWrapper, dtype='float64'), 'float16, bfloat16, float32'),
    (dict(kind=AmpOptimWrapper, loss_scale='static'), "'dynamic', a number or a dict"),
])
def test_wrong_options(options, word):
    with pytest.raises(ValueError, match=word):
        make(**options)


@pytest.mark.parametrize('kind', [OptimWrapper, AmpOptimWrapper])
@pytest.mark.parametrize('break_at', [2, 3, 4])
def test_resume_is_exact_within_an_accumulation_window(kind, break_at):
    data = batches(8)

    def start():
        model, wrapper = make(kind, accumulative_counts=3)
        wrapper.initialize_count_status(model, 0, 8)
        return model, wrapper

    whole, wrapper = start()
    train(whole, wrapper, data)
    first, wrapper = start()
    train(first, wrapper, data[:break_at])
    stored = copy.deepcopy((first.state_dict(), wrapper.state_dict()))
    second, wrapper = make(kind, seed=5, accumulative_counts=3)
    second.load_state_dict(stored[0])
    wrapper.load_state_dict(stored[1])
    wrapper.initialize_count_status(second, break_at, 8)
    train(second, wrapper, data[break_at:])
    assert torch.equal(weights(whole), weights(second))


@pytest.mark.parametrize(('dtype', 'scaled'), [('bfloat16', False), ('float16', True), (None, False),
                                               (torch.float16, True), ('float32', False)])
def test_mixed_precision_on_the_cpu(dtype, scaled):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model, wrapper = make(AmpOptimWrapper, dtype=dtype, clip_grad=dict(max_norm=1.0))
        before = weights(model).clone()
        with wrapper.optim_context(model):
            out = model(batches(1)[0])
        wrapper.update_params(out.float().square().mean())
    assert out.dtype == wrapper.cast_dtype
    assert wrapper.loss_scaler.is_enabled() == scaled
    assert not torch.equal(before, weights(model)) and weights(model).isfinite().all()


def test_overflow_skips_the_update_and_lowers_the_scale():
    model, wrapper = make(AmpOptimWrapper, dtype='float16', loss_scale=dict(init_scale=2.0**10))
    before = weights(model).clone()
    wrapper.update_params(model(batches(1)[0]).mean() * float('inf'))
    assert torch.equal(before, weights(model))
    assert wrapper.loss_scaler.get_scale() == 2.0**9


def test_fixed_scale_stays():
    model, wrapper = make(AmpOptimWrapper, dtype='float16', loss_scale=64.0)
    wrapper.update_params(model(batches(1)[0]).mean() * float('inf'))
    assert wrapper.loss_scaler.get_scale() == 64.0


def test_scaler_state_is_restored_and_optional():
    model, wrapper = make(AmpOptimWrapper, dtype='float16', loss_scale=dict(init_scale=2.0**10))
    wrapper.update_params(model(batches(1)[0]).mean() * float('inf'))
    state = wrapper.state_dict()
    for options in (dict(dtype='float16'), dict(dtype='bfloat16')):
        make(AmpOptimWrapper, **options)[1].load_state_dict(state)
    again = make(AmpOptimWrapper, dtype='float16')[1]
    again.load_state_dict(state)
    assert again.loss_scaler.get_scale() == 2.0**9
    make()[1].load_state_dict(state)
    make(AmpOptimWrapper, dtype='float16')[1].load_state_dict(make(AmpOptimWrapper, dtype='bfloat16')[1].state_dict())


def test_a_changed_learning_rate_takes_effect_on_resume(engine_log):
    model, wrapper = make(lr=0.1)
    wrapper.initialize_count_status(model, 0, 10)
    wrapper.optimizer.param_groups[0]['lr'] = 0.01  # as a schedule of a user's hook would
    again = make(lr=0.4)[1]
    again.load_state_dict(wrapper.state_dict())
    assert again.optimizer.param_groups[0]['lr'] == pytest.approx(0.04)
    assert 'lr 0.1 -> 0.4' in engine_log[-1]


def test_what_a_hook_changed_survives_resume(engine_log):
    model, wrapper = make(lr=0.1)
    wrapper.initialize_count_status(model, 0, 10)
    wrapper.optimizer.param_groups[0].update(lr=0.01, weight_decay=0.5)
    again = make(lr=0.1)[1]
    again.load_state_dict(wrapper.state_dict())
    assert again.optimizer.param_groups[0]['lr'] == 0.01
    assert again.optimizer.param_groups[0]['weight_decay'] == 0.5
    assert not engine_log


def test_other_parameter_groups_are_an_error():
    state = make()[1].state_dict()
    state['param_groups'][0]['params'] = [0]
    with pytest.raises(ValueError, match=r'1 with 4: .*--load-from'):
        make()[1].load_state_dict(state)


def test_state_of_mmengine_is_read():
    from mmengine.optim import OptimWrapper as Stock
    model, stock = make(Stock)
    train(model, stock, batches(2))
    stock.optimizer.param_groups[0]['initial_lr'] = 0.1
    wrapper = make(lr=0.2)[1]
    wrapper.load_state_dict(stock.state_dict())
    assert wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(0.2)
