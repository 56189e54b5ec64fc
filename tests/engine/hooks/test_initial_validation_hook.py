"""Validation before the first step."""
from types import SimpleNamespace

import pytest

from maskforge.engine.hooks import CheckpointHook, InitialValidationHook


@pytest.mark.parametrize(('begun_at', 'validates', 'runs'), [(0, True, 1), (3, True, 0), (0, False, 0)])
def test_once_and_only_in_a_new_run(make_runner, begun_at, validates, runs):
    calls = []

    def run():
        calls.append(runner.iter)
        runner.call_hook('after_val_epoch', metrics=dict(mAP=1.0))
        runner.call_hook('after_val')

    hooks = sorted([CheckpointHook(save_best='mAP', rule='greater'), InitialValidationHook()],
                   key=lambda hook: ('NORMAL', 'VERY_LOW').index(hook.priority))
    runner = make_runner(*hooks)
    runner.iter, runner.val_loop = begun_at, SimpleNamespace(run=run) if validates else None
    runner.call_hook('before_train')
    assert calls == [0] * runs
    assert runner.writes == []  # what is not trained is no best checkpoint
