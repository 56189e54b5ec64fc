"""Schedules follow the run's counters and see training losses."""
import pytest
import torch

from maskforge.engine.hooks import ParamSchedulerHook
from maskforge.engine.schedulers.learning_rate import LinearLR, MultiStepLR, ReduceOnPlateauLR


def rate(runner):
    return runner.optim_wrapper.param_groups[0]['lr']


def test_steps_by_epoch_and_iteration(make_runner):
    runner = make_runner(ParamSchedulerHook(), epochs=2)
    runner.param_schedulers = [LinearLR(runner.optim_wrapper, start_factor=0.1, end=4, by_epoch=False),
                               MultiStepLR(runner.optim_wrapper, milestones=[2])]
    assert rate(runner) == pytest.approx(0.01)
    runner.train()
    assert rate(runner) == pytest.approx(0.01)  # warm again, and decayed by 10
    assert [schedule.global_step for schedule in runner.param_schedulers] == [6, 2]


def test_a_new_schedule_starts_where_the_run_is(make_runner):
    runner = make_runner(ParamSchedulerHook())
    runner.param_schedulers = [MultiStepLR(runner.optim_wrapper, milestones=[2, 3])]
    runner.epoch, runner.iter = 3, 9
    runner.call_hook('before_train')
    assert rate(runner) == pytest.approx(0.001)


@pytest.mark.parametrize('validates', [True, False])
@pytest.mark.parametrize(('losses', 'expected'), [([1.0] * 6, 0.01), ([4.0, 3, 3, 2, 1, 1], 0.1),
                                                  ([0.0, 0, 3, 2, 2, 0], 0.01)])
def test_plateau_of_the_training_loss(make_runner, losses, expected, validates):
    """Means of three iterations; the last one of an epoch alone would say the opposite in the last row."""
    runner = make_runner(ParamSchedulerHook(), epochs=2)
    runner.param_schedulers = [ReduceOnPlateauLR(runner.optim_wrapper, monitor='train_loss', patience=0)]
    if validates:
        runner.metrics = iter([dict(mAP=0.1)] * 2)
    else:
        runner.val_loop = None
    runner.train(lambda iteration: dict(loss=torch.tensor(losses[iteration]), acc=1.0))
    assert rate(runner) == pytest.approx(expected)


def test_a_plateau_without_validation_is_warned_of(make_runner, caplog):
    runner = make_runner(ParamSchedulerHook(), epochs=1)
    runner.val_loop = None
    runner.param_schedulers = [ReduceOnPlateauLR(runner.optim_wrapper, monitor=name)
                               for name in ('val_loss', 'train_loss')]
    with caplog.at_level('WARNING'):
        runner.train()
    assert ["'val_loss' has no effect: this run does not validate" in text for text in caplog.messages] == [True]


def test_no_schedules(make_runner):
    runner = make_runner(ParamSchedulerHook())
    runner.param_schedulers = None
    runner.train()
