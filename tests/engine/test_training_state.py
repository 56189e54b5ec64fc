"""The plain form of a run's state."""
import enum
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from maskforge.checkpoints import load_checkpoint, save_checkpoint
from maskforge.engine.random_state import capture_random_state, private_randomness, restore_random_state
from maskforge.engine.training_state import (
    gather_random_states,
    message_hub_state,
    plain,
    restore_message_hub,
    restore_own_random_state,
)


class Colour(str, enum.Enum):
    RED = 'red'


def test_plain_values_need_no_classes(tmp_path, engine_log):
    value = dict(a=np.float32(1.5), b=np.arange(3), c=(1, [Colour.RED]), d={1, 2}, e=torch.float32, f=Path('x'),
                 g=np.array(['s']), h=slice(1), i=torch.nn.Parameter(torch.ones(1)))
    loaded = load_checkpoint(save_checkpoint(plain(value), tmp_path / 'x.pth'))
    assert loaded['a'] == 1.5 and loaded['b'].tolist() == [0, 1, 2] and loaded['c'] == (1, ['red'])
    assert loaded['e'] == 'torch.float32' and loaded['g'] == ['s'] and loaded['f'] == 'x'
    assert type(loaded['i']) is torch.Tensor
    assert any('checkpoint.h is a slice' in message for message in engine_log)


def test_message_hub_round_trip(tmp_path):
    hub = MessageHub('state-one')
    for value in range(3):
        hub.update_scalar('train/loss', float(value))
    hub.update_scalar('train/time', 1.0, resumed=False)
    hub.update_info('best', np.float64(0.5))
    state = load_checkpoint(save_checkpoint(message_hub_state(hub), tmp_path / 'x.pth'))
    other = MessageHub('state-two')
    restore_message_hub(other, state)
    assert other.get_scalar('train/loss').data[0].tolist() == [0, 1, 2]
    assert 'train/time' not in other.log_scalars and other.get_info('best') == 0.5
    other.update_scalar('train/time', 1.0, resumed=False)  # MMEngine asserts that the flag stays as it was


def test_histories_are_bounded():
    hub = MessageHub('state-long')
    hub.log_scalars['x'] = HistoryBuffer(np.arange(30000.0), np.ones(30000))
    hub._resumed_keys['x'] = True
    assert len(message_hub_state(hub)['log_scalars']['x']['values']) == 10000


def test_random_states(tmp_path):
    path = save_checkpoint(capture_random_state(), tmp_path / 'x.pth')
    import random

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item(), random.gauss(0, 1), np.random.randn()
    first = draw()
    restore_random_state(load_checkpoint(path))
    assert draw() == first
    restore_random_state(load_checkpoint(path))
    with private_randomness(5):
        inside = draw()
    with private_randomness(5):
        assert draw() == inside
    assert draw() == first


class Drawing(torch.nn.Module):
    """A model with a generator of its own."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(42)

    def random_state(self):
        return self.generator.bit_generator.state

    def set_random_state(self, state):
        self.generator.bit_generator.state = state


def test_generator_of_a_model(tmp_path, monkeypatch):
    model = Drawing()
    model.generator.random(5)
    states = load_checkpoint(save_checkpoint(plain(gather_random_states(model)), tmp_path / 'x.pth'))
    expected = model.generator.random(3)
    for rank, found in ((0, True), (1, False)):  # a process more than before draws as the others do
        monkeypatch.setattr('maskforge.engine.training_state.get_rank', lambda rank=rank: rank)
        other = Drawing()
        assert restore_own_random_state(states, other) is found
        assert (other.generator.random(3) == expected).all()
    monkeypatch.undo()
    assert restore_own_random_state(states, torch.nn.Linear(1, 1))
    assert restore_own_random_state(gather_random_states(torch.nn.Linear(1, 1)), Drawing())


def test_each_rank_gets_its_own_generator_of_the_model(monkeypatch):
    """Ranks draw different numbers of times: for clips of other lengths, for example."""
    models, states = [Drawing(), Drawing()], []
    for draws, model in enumerate(models):
        model.generator.random(draws + 1)
        states += gather_random_states(model)
    for rank, model in enumerate(models):
        monkeypatch.setattr('maskforge.engine.training_state.get_rank', lambda rank=rank: rank)
        other = Drawing()
        assert restore_own_random_state(states, other)
        assert other.generator.random() == model.generator.random()
