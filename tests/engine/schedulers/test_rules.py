"""Every rule equals MMEngine's class of the same name at every step, alone and in the usual combinations."""
import mmengine.optim.scheduler as stock
import pytest
import torch
from mmengine.optim import OptimWrapper

from maskforge.engine.schedulers import learning_rate, momentum
from maskforge.registry import PARAM_SCHEDULERS

pytestmark = pytest.mark.filterwarnings('ignore:Detected call of:UserWarning')  # of MMEngine's schedulers
STEPS = 40
SINGLE = [
    ('LinearLR', dict(start_factor=0.001, begin=0, end=6)),
    ('LinearLR', dict(start_factor=1 / 3, begin=3, end=9)),
    ('LinearLR', dict(start_factor=1.0, end_factor=0.1, end=1)),
    ('ConstantLR', dict(factor=0.2, begin=2, end=8)),
    ('ConstantLR', dict(factor=0.2)),
    ('ConstantLR', dict(factor=0.2, end=1)),
    ('MultiStepLR', dict(milestones=[8, 11], gamma=0.1)),
    ('MultiStepLR', dict(milestones=[3, 3, 11], gamma=0.5, begin=4, end=14)),
    ('MultiStepLR', dict(milestones=[28, 34], end=24)),
    ('StepLR', dict(step_size=7, gamma=0.3, begin=1, end=30)),
    ('ExponentialLR', dict(gamma=0.9, begin=2, end=20)),
    ('CosineAnnealingLR', dict(T_max=12, eta_min=1e-5, end=12)),
    ('CosineAnnealingLR', dict(eta_min_ratio=0.05, begin=5, end=25)),
    ('CosineAnnealingLR', dict(T_max=6, eta_min=1e-3)),
    ('PolyLR', dict(eta_min=1e-4, power=0.9, begin=0, end=30)),
    ('PolyLR', dict(power=2.0, begin=4, end=39)),
    ('OneCycleLR', dict(eta_max=0.1, total_steps=30, end=30)),
    ('OneCycleLR', dict(eta_max=0.1, pct_start=0.4, anneal_strategy='linear', three_phase=True, end=40)),
    ('OneCycleLR', dict(eta_max=[0.1, 0.2, 0.3], end=20)),
    ('CosineRestartLR', dict(periods=[5, 10, 20], restart_weights=[1, 0.5, 0.2], eta_min=1e-4, end=35)),
    ('CosineRestartLR', dict(periods=[5, 5], restart_weights=[1, 0.5], eta_min_ratio=0.1)),
]
CHAINED = [
    [('LinearLR', dict(start_factor=0.001, end=5)), ('MultiStepLR', dict(milestones=[8, 11]))],
    [('LinearLR', dict(start_factor=0.1, end=8)), ('MultiStepLR', dict(milestones=[4, 20]))],
    [('LinearLR', dict(start_factor=0.1, end=5)), ('CosineAnnealingLR', dict(begin=5, end=30, eta_min=1e-4))],
    [('LinearLR', dict(start_factor=0.1, end=5)), ('PolyLR', dict(begin=5, end=30, eta_min=1e-4, power=0.9))],
    [('ConstantLR', dict(factor=0.1, end=3)), ('ExponentialLR', dict(gamma=0.95)), ('StepLR', dict(step_size=9))],
    [('LinearLR', dict(end=6)), ('CosineRestartLR', dict(begin=6, periods=[5, 20], restart_weights=[1, 0.5],
                                                       eta_min=0))],
]


def make_wrapper(kind=torch.optim.SGD, groups=2, **options):
    params = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=0.02 * 0.3 ** i) for i in range(groups)]
    return OptimWrapper(kind(params, lr=0.02, **options))


def trace(module, specs, *, kind=torch.optim.SGD, key='lr', **options):
    wrapper = make_wrapper(kind, **options)
    schedules = [getattr(module, name)(optimizer=wrapper, **config) for name, config in specs]
    values = []
    for _ in range(STEPS):
        values.append([group[key] for group in wrapper.param_groups])
        for schedule in schedules:
            wrapper.optimizer.step()
            schedule.step()
    return values


@pytest.mark.parametrize('specs', [[single] for single in SINGLE] + CHAINED, ids=lambda specs: '+'.join(
    name for name, _ in specs))
def test_values_equal_mmengine(specs):
    ours, theirs = trace(learning_rate, specs), trace(stock, specs)
    for step, (mine, other) in enumerate(zip(ours, theirs)):
        assert mine == pytest.approx(other, rel=1e-12, abs=1e-12), step


@pytest.mark.parametrize(('name', 'config'), [
    ('LinearMomentum', dict(start_factor=0.5, end=6)), ('StepMomentum', dict(step_size=5)),
    ('MultiStepMomentum', dict(milestones=[3, 9])), ('ExponentialMomentum', dict(gamma=0.99)),
    ('CosineAnnealingMomentum', dict(T_max=20, end=20)), ('ConstantMomentum', dict(factor=0.5, end=4)),
    ('PolyMomentum', dict(end=30)), ('CosineRestartMomentum', dict(periods=[30], eta_min=0.1, end=30)),
])
@pytest.mark.parametrize('kind', [torch.optim.SGD, torch.optim.AdamW])
def test_momentum_equals_mmengine(name, config, kind):
    options = dict(momentum=0.9) if kind is torch.optim.SGD else {}
    key = 'momentum' if kind is torch.optim.SGD else 'betas'
    ours = trace(momentum, [(name, config)], kind=kind, key=key, **options)
    theirs = trace(stock, [(name, config)], kind=kind, key=key, **options)
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-12, atol=1e-12)


def test_quadratic_warm_up():
    values = trace(learning_rate, [('QuadraticWarmupLR', dict(end=4))])
    assert [row[0] for row in values[:6]] == pytest.approx([0.02 * part for part in (1 / 16, 1 / 4, 9 / 16, 1, 1, 1)])


@pytest.mark.parametrize(('metrics', 'config'), [
    ([5, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3], dict(monitor='val_loss', patience=1, factor=0.5)),
    ([1, 2, 3, 3, 3, 3, 3, 3, 3, 4], dict(monitor='val_loss', rule='greater', patience=2, cooldown=2)),
    ([1.0] * 12, dict(monitor='val_loss', patience=0, factor=0.1, min_value=1e-4)),
    ([1.0] * 12, dict(monitor='val_loss', patience=0, factor=0.1, min_value=[1e-4, 5e-3], threshold_rule='abs')),
    ([1.0] * 12, dict(monitor='val_loss', patience=0, begin=3, end=8)),
])
def test_reduce_on_plateau_equals_mmengine(metrics, config):
    traces = []
    for module in (learning_rate, stock):
        wrapper = make_wrapper()
        schedule = module.ReduceOnPlateauLR(optimizer=wrapper, **config)
        traces.append([])
        for value in metrics:
            schedule.step()
            schedule.step(dict(val_loss=value))
            traces[-1] += [group['lr'] for group in wrapper.param_groups]
    assert traces[0] == pytest.approx(traces[1], rel=1e-12)


@pytest.mark.parametrize(('name', 'config', 'word'), [
    ('LinearLR', dict(begin=5, end=5), 'end must be larger than begin'),
    ('LinearLR', dict(start_factor=2), r'start_factor must lie in \[0, 1\]'),
    ('ConstantLR', dict(factor=-1), 'factor must lie'),
    ('QuadraticWarmupLR', dict(), 'end is required'),
    ('CosineAnnealingLR', dict(eta_min=0.1, eta_min_ratio=0.1), 'not both'),
    ('CosineRestartLR', dict(periods=[3, 3]), 'same length'),
    ('OneCycleLR', dict(total_steps=0), 'total_steps must be a positive'),
    ('OneCycleLR', dict(pct_start=3.0, end=5), 'pct_start'),
    ('OneCycleLR', dict(anneal_strategy='cubic', end=5), "'cos' or 'linear'"),
    ('OneCycleLR', dict(eta_max=[1.0], end=5), 'one for each of the 3'),
    ('OneCycleLR', dict(eta_max=1.0, total_steps=10, end=50), 'has 50 steps'),
    ('ReduceOnPlateauLR', dict(factor=1.5), 'factor must be below 1'),
    ('ReduceOnPlateauLR', dict(rule='max'), "'less' or 'greater'"),
    ('ReduceOnPlateauLR', dict(by_epoch=False), 'by_epoch=True only'),
])
def test_wrong_arguments_are_named(name, config, word):
    with pytest.raises(ValueError, match=word):
        getattr(learning_rate, name)(optimizer=make_wrapper(), **config)


def test_missing_monitor_lists_the_metrics():
    schedule = learning_rate.ReduceOnPlateauLR(optimizer=make_wrapper(), monitor='val_los')
    with pytest.raises(KeyError, match='coco/bbox_mAP, val_loss'):
        schedule.step({'val_loss': 1.0, 'coco/bbox_mAP': 0.5})


def test_momentum_of_an_optimizer_without_any():
    with pytest.raises(ValueError, match='Adagrad has neither'):
        momentum.StepMomentum(optimizer=make_wrapper(torch.optim.Adagrad), step_size=1)


@pytest.mark.parametrize(('config', 'length'), [
    (dict(type='MultiStepLR', milestones=[2, 3]), 10),
    (dict(type='CosineAnnealingLR', T_max=4, eta_min=1e-5, begin=0, end=4), 10),
    (dict(type='LinearLR', start_factor=0.1, begin=1, end=3), 7),
    (dict(type='OneCycleLR', eta_max=0.1, total_steps=4, end=4), 10),
    (dict(type='CosineRestartLR', periods=[2, 2], restart_weights=[1, 1], eta_min=0.0, end=4), 10),
])
def test_convert_to_iter_based_equals_mmengine(config, length):
    traces = []
    for registry in (PARAM_SCHEDULERS, PARAM_SCHEDULERS.parent):
        wrapper = make_wrapper()
        schedule = registry.build(dict(config, convert_to_iter_based=True),
                                  default_args=dict(optimizer=wrapper, epoch_length=length))
        assert not schedule.by_epoch
        traces.append([])
        for _ in range(STEPS):
            traces[-1].append(wrapper.optimizer.param_groups[0]['lr'])
            wrapper.optimizer.step()
            schedule.step()
    assert traces[0] == pytest.approx(traces[1], rel=1e-12, abs=1e-12)


def test_convert_to_iter_based_needs_epochs():
    with pytest.raises(ValueError, match='needs by_epoch=True'):
        learning_rate.StepLR.build_iter_from_epoch(make_wrapper(), step_size=2, by_epoch=False, epoch_length=3)
