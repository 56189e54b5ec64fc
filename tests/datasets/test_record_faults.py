"""A data set on a flaky network file system."""
import time

import numpy as np
import pytest
from flaky_storage import FlakyStorage

from maskforge.datasets import CocoDataset
from maskforge.datasets.deadline import deadline
from maskforge.datasets.record_faults import RecordFaults
from maskforge.structures import mark_randomness, sample_rng, seeded_sample

NAMES = ('0000', '0001', '0002', '0003')


class _Noise:
    """Draws before the image is read, as mosaics do, and after."""

    def __call__(self, results):
        return {**results, 'drawn': [*results.get('drawn', ()), float(sample_rng().random()), np.random.rand()]}


@pytest.fixture
def make(drawn):
    """The drawn images through a file system with ``faults``."""
    FlakyStorage.reads.clear()

    def build(faults=None, *, delay=0., **settings):
        pipeline = [_Noise(), dict(type='LoadImageFromFile', backend_args=dict(backend='flaky', faults=faults or {})),
                    _Noise()]
        settings['fault_cfg'] = dict(dict(delay=delay), **settings.get('fault_cfg', {}))
        return CocoDataset(ann_file='annotations/instances_train.json', data_root=str(drawn.root),
                           data_prefix=dict(img='train/'), pipeline=pipeline, **settings)
    return build


def _sample(data, index, seed=5):
    with seeded_sample(seed):
        return data[index]


def _file_of(data, index):
    return data.get_data_info(index)['img_path'].rsplit('/', 1)[1]


@pytest.mark.parametrize('plan', [['raise'], ['stale', 'raise', 'raise'], ['cut'], ['delay'], ['raise', 'cut']])
@pytest.mark.parametrize('test_mode', [False, True])
def test_a_fault_that_passes_leaves_no_trace(make, plan, test_mode, engine_log):
    calm = make(test_mode=test_mode)
    flaky = make({_file_of(calm, 2): plan}, test_mode=test_mode)
    first, second = _sample(calm, 2), _sample(flaky, 2)
    assert first['drawn'] == second['drawn'] and np.array_equal(first['img'], second['img'])
    assert flaky.broken_records() == [] and flaky.faults.retried() == ([] if plan == ['delay'] else [2])
    assert not [line for line in engine_log if 'skipped' in line]


@pytest.mark.parametrize(('fault', 'reads'), [('raise', 4), ('cut', 2)])
def test_a_fault_that_stays_is_named_once_and_replaced(make, fault, reads, engine_log):
    data = make()
    file = _file_of(data, 2)
    data = make({file: fault})
    first = _sample(data, 2)
    path = data.get_data_info(2)['img_path']
    assert FlakyStorage.reads[path] == reads
    assert first['img_path'] != path and _sample(data, 2)['img_path'] == first['img_path']
    assert FlakyStorage.reads[path] == reads + 1, 'what is known to be broken is not tried at length again'
    named = [line for line in engine_log if file in line]
    assert len(named) == 1 and '(1 broken records so far)' in named[0]
    assert data.broken_records() == [2] and data.faults.retried() == []


@pytest.mark.parametrize('settings', [dict(test_mode=True), dict(on_error='raise')])
def test_a_fault_that_stays_ends_a_run_that_asks_for_it(make, settings):
    file = _file_of(make(), 2)
    with pytest.raises((ValueError, OSError), match=f'{file}.*Input/output error'):
        make({file: 'raise'}, **settings)[2]


@pytest.mark.parametrize(('limit', 'ends'), [(None, False), (2, False), (1, True), (0.25, False), (0.2, True),
                                             (0, True)])
def test_limit(make, limit, ends):
    data = make()
    faults = {_file_of(data, 1): 'raise', _file_of(data, 2): 'raise'}
    data = make(faults, fault_cfg=dict(max_broken=limit, retries=0))
    if not ends:
        for index in (1, 2, 1):
            _sample(data, index)
        assert data.broken_records() == [1, 2]
        return
    with pytest.raises(ValueError, match=r'instances_train.json: \d of 8 records could not be used, and '
                                         rf'fault_cfg.max_broken={limit} ends the run: .*{_file_of(data, 1)}'):
        for index in (1, 2):
            _sample(data, index)


def test_the_limit_counts_what_other_processes_met(make):
    data = make(fault_cfg=dict(max_broken=2))
    data.faults.add_broken([0, 1])
    data.faults.check_limit()
    data.faults.add_broken([1, 5])
    with pytest.raises(ValueError, match='3 of 8 records'):
        data.faults.check_limit()


def test_a_read_that_hangs_is_given_up(make):
    data = make()
    data = make({_file_of(data, 2): ['hang']}, fault_cfg=dict(timeout=0.2))
    assert _sample(data, 2)['img_path'].endswith(_file_of(data, 2)) and data.faults.retried() == [2]
    data = make({_file_of(data, 3): 'hang'}, fault_cfg=dict(timeout=0.05, retries=1))
    assert not _sample(data, 3)['img_path'].endswith(_file_of(data, 3)) and data.broken_records() == [3]


def test_retries_wait_longer_and_longer(monkeypatch):
    waits, faults = [], RecordFaults(dict(delay=0.25), on_error='skip')
    monkeypatch.setattr('maskforge.datasets.record_faults.time.sleep', waits.append)
    with pytest.raises(OSError, match='gone'):
        faults.read(0, _raising(OSError('gone')))
    assert waits == [0.25, 0.5, 1.0]
    waits.clear()
    with pytest.raises(FileNotFoundError):
        faults.read(0, _raising(FileNotFoundError(2, 'none')))
    with pytest.raises(TypeError):
        faults.read(0, _raising(TypeError()))
    assert waits == []


def _raising(error):
    def read():
        raise error
    return read


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(retry=3), "unknown key 'retry': allowed are retries"), (dict(retries=-1), 'whole number from 0'),
    (dict(delay='1'), 'seconds from 0'), (dict(timeout=0), 'above 0, or None'), (dict(max_broken=-1), 'from 1')])
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        RecordFaults(settings, on_error='skip')


def test_deadlines():
    start = time.monotonic()
    with pytest.raises(TimeoutError, match='longer than'), deadline(0.05):
        time.sleep(20)
    assert time.monotonic() - start < 10
    with deadline(0.05):
        pass
    time.sleep(0.1)


def test_marks():
    with seeded_sample(1):
        sample_rng().random()
        rewind = mark_randomness()
        drawn = sample_rng().random(), np.random.rand()
        rewind()
        assert drawn == (sample_rng().random(), np.random.rand())
