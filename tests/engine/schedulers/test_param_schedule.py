"""Resume: the config rules, the checkpoint only counts."""
import mmengine.optim.scheduler as stock
import pytest
import torch
from mmengine.optim import OptimWrapper

from maskforge.engine.schedulers.learning_rate import CosineAnnealingLR, LinearLR, MultiStepLR, ReduceOnPlateauLR


def make_wrapper(lr=0.02):
    params = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=lr * part) for part in (1, 0.1)]
    return OptimWrapper(torch.optim.SGD(params, lr=lr))


def rates(wrapper):
    return [group['lr'] for group in wrapper.param_groups]


def run(wrapper, schedules, steps):
    for _ in range(steps):
        for schedule in schedules:
            schedule.step()
    return rates(wrapper)


def resume(wrapper, schedules, stored):
    wrapper.load_state_dict(stored[0])
    for schedule, state in zip(schedules, stored[1]):
        schedule.load_state_dict(state)


def store(wrapper, schedules):
    return torch.utils._pytree.tree_map(lambda leaf: leaf, (wrapper.state_dict(), [s.state_dict() for s in schedules]))


def test_resume_with_a_longer_schedule_follows_the_new_config(engine_log):
    first = make_wrapper()
    short = [CosineAnnealingLR(first, T_max=3, end=3)]
    run(first, short, 3)
    stored = store(first, short)
    second, unbroken = make_wrapper(), make_wrapper()
    longer = [CosineAnnealingLR(second, T_max=6, end=6)]
    resume(second, longer, stored)
    assert 'end 3 -> 6, T_max 3 -> 6' in engine_log[-1]
    reference = [CosineAnnealingLR(unbroken, T_max=6, end=6)]
    assert rates(second) == run(unbroken, reference, 3)
    assert run(second, longer, 2) == run(unbroken, reference, 2)


@pytest.mark.parametrize('steps', [0, 2, 5, 9, 12])
def test_chained_schedules_resume_where_they_were(steps):
    def build(wrapper):
        return [LinearLR(wrapper, start_factor=0.1, end=6), MultiStepLR(wrapper, milestones=[4, 10])]

    unbroken, broken, resumed = make_wrapper(), make_wrapper(), make_wrapper()
    reference, before = build(unbroken), build(broken)
    run(unbroken, reference, steps)
    run(broken, before, steps)
    after = build(resumed)
    resume(resumed, after, store(broken, before))
    for _ in range(5):
        assert rates(resumed) == rates(unbroken)
        run(resumed, after, 1)
        run(unbroken, reference, 1)


@pytest.mark.filterwarnings('ignore:Detected call of:UserWarning')  # of MMEngine's schedulers
def test_a_scheduler_state_of_mmengine_is_read():
    old, new, unbroken = make_wrapper(), make_wrapper(), make_wrapper()
    theirs = stock.MultiStepLR(old, milestones=[2, 4])
    for _ in range(3):
        old.optimizer.step()
        theirs.step()
    ours = MultiStepLR(new, milestones=[2, 4])
    ours.load_state_dict(theirs.state_dict())
    assert rates(new) == run(unbroken, [MultiStepLR(unbroken, milestones=[2, 4])], 3)


def test_state_is_plain_and_small():
    schedule = MultiStepLR(make_wrapper(), milestones=[2, 4])
    assert schedule.state_dict() == dict(global_step=0, outside=None, config=dict(
        begin=0, end=10**9, by_epoch=True, groups=None, milestones=[2, 4], gamma=0.1))


def test_seek_equals_stepping():
    stepped, sought = make_wrapper(), make_wrapper()
    run(stepped, [MultiStepLR(stepped, milestones=[2, 4])], 3)
    MultiStepLR(sought, milestones=[2, 4]).seek(3)
    assert rates(sought) == rates(stepped)


def test_plateau_state_survives():
    first, second = make_wrapper(), make_wrapper()
    schedule = ReduceOnPlateauLR(first, monitor='val_loss', patience=1, factor=0.5)
    for value in (3.0, 3.0, 3.0, 3.0):
        schedule.step()
        schedule.step(dict(val_loss=value))
    again = ReduceOnPlateauLR(second, monitor='val_loss', patience=1, factor=0.5)
    resume(second, [again], store(first, [schedule]))
    assert rates(second) == rates(first) == pytest.approx([0.01, 0.001, 0.01])
    for one in (schedule, again):
        one.step(dict(val_loss=3.0))
    assert rates(second) == rates(first) == pytest.approx([0.005, 0.0005, 0.005])


def test_values_that_others_change_are_kept_as_a_factor():
    wrapper = make_wrapper()
    schedule = MultiStepLR(wrapper, milestones=[2])
    wrapper.optimizer.param_groups[0]['lr'] *= 0.5
    assert run(wrapper, [schedule], 2)[0] == pytest.approx(0.02 * 0.5 * 0.1)
    resumed = make_wrapper()
    again = MultiStepLR(resumed, milestones=[2])
    resume(resumed, [again], store(wrapper, [schedule]))
    assert rates(resumed) == rates(wrapper)


@pytest.mark.filterwarnings('ignore:Detected call of:UserWarning')  # of MMEngine's schedulers
def test_mmengines_chained_schedulers_work_beside_ours():
    mixed, pure = make_wrapper(), make_wrapper()
    foreign, ours = stock.ExponentialLR(mixed, gamma=0.9), MultiStepLR(mixed, milestones=[2])
    both = [stock.ExponentialLR(pure, gamma=0.9), stock.MultiStepLR(pure, milestones=[2])]
    for _ in range(5):
        for wrapper, schedules in ((mixed, [foreign, ours]), (pure, both)):
            wrapper.optimizer.step()
            run(wrapper, schedules, 1)
        assert rates(mixed) == pytest.approx(rates(pure), rel=1e-12)


def test_another_unit_does_not_take_the_counter():
    state = MultiStepLR(make_wrapper(), milestones=[2]).state_dict()
    schedule = MultiStepLR(make_wrapper(), milestones=[2], by_epoch=False)
    schedule.load_state_dict(dict(state, global_step=7))
    assert schedule.global_step == 0
