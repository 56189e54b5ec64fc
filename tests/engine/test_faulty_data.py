"""What the engine says of records that cannot be read, and of workers that hang or die."""
import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from maskforge.datasets.record_faults import RecordFaults
from maskforge.engine.data_loading import build_dataloader
from maskforge.engine.hooks import BrokenRecordsHook


class _Trouble(Dataset):
    """Record 3 hangs, kills its worker, or raises."""

    def __init__(self, trouble):
        self.trouble = trouble

    def __len__(self):
        return 4

    def get_data_info(self, index):
        return dict(img_path=f'images/{index}.jpg')

    def __getitem__(self, index):
        if index == 3 and self.trouble == 'hang':
            time.sleep(600)
        if index == 3 and self.trouble == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 3 and self.trouble == 'raise':
            raise ZeroDivisionError('our mistake')
        if index == 3 and self.trouble == 'broken':
            RecordFaults(dict(retry=1), on_error='skip')
        return torch.zeros(1)


@pytest.mark.parametrize(('trouble', 'kind', 'message'), [
    ('hang', TimeoutError, r'no batch within timeout=3 s; worker 0 has been at images/3.jpg for \d+ s\. fault_cfg'),
    ('die', RuntimeError, r': worker 0 has been at images/3.jpg for \d+ s. Killed workers often mean'),
    ('raise', ZeroDivisionError, 'Caught ZeroDivisionError'),
    ('broken', ValueError, r"^fault_cfg has an unknown key 'retry'")])
def test_workers_that_fail(trouble, kind, message):
    loader = build_dataloader(dict(
        dataset=_Trouble(trouble), batch_size=2, num_workers=1, timeout=3 if trouble == 'hang' else 60,
        sampler=dict(type='DefaultSampler', shuffle=False)), seed=0)
    with pytest.raises(kind, match=message):
        list(loader)


def _runner(dataset, lines):
    logger = SimpleNamespace(warning=lines.append, log=lambda level, text: lines.append(text))
    return SimpleNamespace(train_dataloader=SimpleNamespace(dataset=dataset), train_loop=None, logger=logger)


def test_counts_of_all_processes(monkeypatch):
    lines, faults = [], RecordFaults(dict(max_broken=3), on_error='skip')
    faults.watch(10, source='a.json', name_of='{}.jpg'.format)
    faults.add_broken([1])
    other = ([1, 4], [2, 4, 7])
    monkeypatch.setattr('maskforge.engine.hooks.broken_records_hook.all_gather_object', lambda mine: [mine, [other]])
    # the same data set may be there twice
    runner = _runner(SimpleNamespace(record_faults=lambda: [faults, faults]), lines)
    hook = BrokenRecordsHook()
    hook.after_train_epoch(runner)
    assert lines == ['4.jpg is skipped (another process could not read it)',
                     'a.json: 2 of 10 records could not be used so far, others took their place; 2 records had to be '
                     'read more than once']
    assert faults.broken() == [1, 4]
    other[0].extend([5, 6])
    with pytest.raises(ValueError, match='4 of 10 records could not be used'):
        hook.after_train_epoch(runner)


def test_nothing_is_said_where_nothing_happens():
    lines, faults = [], RecordFaults(on_error='skip')
    BrokenRecordsHook().after_train_epoch(_runner(SimpleNamespace(record_faults=lambda: [faults]), lines))
    BrokenRecordsHook().after_train_epoch(_runner(SimpleNamespace(), lines))
    assert lines == []
    with pytest.raises(ValueError, match='interval'):
        BrokenRecordsHook(interval=0)


def test_without_workers_there_is_no_time_limit_on_batches(engine_log):
    loader = build_dataloader(dict(dataset=_Trouble(None), batch_size=2, num_workers=0, timeout=5,
                                   sampler=dict(type='DefaultSampler', shuffle=False)), seed=0)
    assert len(list(loader)) == 2
    assert any('timeout=5 has no effect with num_workers=0' in line for line in engine_log)
