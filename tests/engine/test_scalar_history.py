"""Bounded, lazy histories."""
import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from maskforge.engine.scalar_history import ScalarHistory, bound_histories, record_scalar


@pytest.mark.parametrize('values', [[1.0], [1.0, 2.5, 3.0, -4.0], list(range(7))])
@pytest.mark.parametrize('tensors', [False, True])
def test_statistics_equal_mmengine(values, tensors):
    ours, theirs = ScalarHistory(), HistoryBuffer()
    for value in values:
        ours.update(torch.tensor(float(value)) if tensors else value)
        theirs.update(value)
    for window in (None, 1, 2, 100):
        for name in ('mean', 'min', 'max'):
            assert getattr(ours, name)(window) == pytest.approx(getattr(theirs, name)(window))
            assert ours.statistics(name, window_size=window) == pytest.approx(getattr(theirs, name)(window))
    assert ours.current() == values[-1]
    np.testing.assert_array_equal(ours.data[1], np.ones(len(values)))


def test_length_is_bounded():
    history = ScalarHistory(max_length=5)
    for value in range(20):
        history.update(torch.tensor(float(value)) if value % 3 else float(value))
    assert history.data[0].tolist() == [15, 16, 17, 18, 19]


def test_tensors_wait_until_somebody_reads():
    history = ScalarHistory()
    value = torch.tensor(1.0, requires_grad=True) * 2
    history.update(value)
    assert history._pending and not history._pending[0].requires_grad
    assert history.mean() == 2.0 and not history._pending


@pytest.mark.parametrize('copier', [copy.deepcopy, lambda history: pickle.loads(pickle.dumps(history))])
def test_copies(copier):
    history = ScalarHistory([1.0], [1], max_length=3)
    history.update(torch.tensor(2.0))
    again = copier(history)
    again.update(3.0)
    assert again.data[0].tolist() == [1, 2, 3] and again.max_length == 3 and history.data[0].tolist() == [1, 2]


def test_empty_history():
    with pytest.raises(ValueError, match='nothing was logged'):
        ScalarHistory().current()


def test_record_in_the_message_hub():
    hub = MessageHub.get_instance('scalar_history_test')
    for value in (1.0, torch.tensor(3.0), 5):
        record_scalar(hub, 'train/loss', value)
    assert isinstance(hub.get_scalar('train/loss'), ScalarHistory)
    assert hub.get_scalar('train/loss').mean() == 3.0
    assert 'train/loss' in hub.state_dict()['log_scalars']
    hub.update_scalar('other', 1.0)
    bound_histories(hub, 7)
    assert hub.get_scalar('other').max_length == 7


def test_an_update_does_not_cost_more_late_in_a_run():
    history = ScalarHistory(range(10_000), [1] * 10_000)
    before = history._values
    history.update(1.0)
    assert history._values is before  # in place, no copy
