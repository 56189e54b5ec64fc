from types import SimpleNamespace

import pytest
from torch import nn

from maskforge.engine.hooks import MomentumTeacherHook
from maskforge.registry import HOOKS


class Followed(nn.Module):
    def __init__(self):
        super().__init__()
        self.updates = 0

    def update_teacher(self):
        self.updates += 1


def test_once_per_update_of_the_weights():
    hook = HOOKS.build(dict(type='MomentumTeacherHook'))
    runner = SimpleNamespace(model=Followed(), optim_wrapper=SimpleNamespace(has_open_window=False))
    hook.before_train(runner)
    for is_open in (True, False, True, True, False):
        runner.optim_wrapper.has_open_window = is_open
        hook.after_train_iter(runner, 0)
    assert runner.model.updates == 2


def test_a_model_without_teacher_is_an_error():
    with pytest.raises(ValueError, match=r'Linear has no update_teacher\(\)'):
        MomentumTeacherHook().before_train(SimpleNamespace(model=nn.Linear(1, 1)))
