"""Who is lost, who is stuck, who only waits: judged from heartbeats."""
import sys
import threading
import time

import pytest
import torch
from torch import distributed

from maskforge.engine.heartbeats import Beat
from maskforge.engine.lost_ranks import find_lost, find_stuck
from maskforge.engine.watchdog import is_echo, place, watchdog_settings


def beat(host='a', phase='training step', iteration=7, **more):
    return Beat(host=host, phase=phase, iteration=iteration, **more)


@pytest.mark.parametrize(('beats', 'silence', 'message'), [
    ({0: beat(), 1: beat()}, {0: 0, 1: 19}, None),
    ({0: beat(), 1: beat(host='b')}, {0: 0, 1: 21},
     'rank 1 on host b has died or is frozen (no sign of life for 21 s); the last that was seen of it is iteration 7 '
     '(training step)'),
    ({1: beat(is_long=True)}, {1: 199}, None),
    ({1: beat(is_long=True)}, {1: 201}, 'rank 1 on host a has died'),
    ({1: beat(phase='')}, {1: 999}, None),  # left the loops
    ({1: beat(), 2: beat(host='c')}, {1: 30, 2: 40}, '; rank 2 on host c has died'),
])
def test_lost(beats, silence, message):
    found = find_lost(beats, silence, limit=20, long_limit=200)
    assert found is None if message is None else message in found


@pytest.mark.parametrize(('beats', 'named'), [
    ({0: beat(still=599), 1: beat(still=599)}, []),
    # one sleeps in its data, the other waits in a collective
    ({0: beat(still=601, waits=True), 1: beat(still=600, phase='loading of data', where='read (x.py:3)')}, [1]),
    # the one that waits is the first to reach the limit
    ({0: beat(still=601, waits=True), 1: beat(still=560)}, [1]),
    # it waits for one that moves slowly
    ({0: beat(still=601, waits=True), 1: beat(still=100)}, []),
    # all wait for each other: those with the fewest iterations
    ({0: beat(still=601, waits=True, iteration=8), 1: beat(still=601, waits=True)}, [1]),
    ({0: beat(still=601, waits=True), 1: beat(still=601, waits=True)}, [0, 1]),
    # nobody is seen to wait (a GPU): those that are furthest behind
    ({0: beat(still=601, iteration=8), 1: beat(still=601), 2: beat(still=601, iteration=8)}, [1]),
    ({0: beat(still=601), 1: beat(still=601, phase='loading of data')}, [1]),
    ({0: beat(still=601), 1: beat(still=601)}, [0, 1]),
    # others wait for a rank that computes metrics or writes
    ({0: beat(still=1500, is_long=True), 1: beat(still=1500, waits=True)}, []),
    ({0: beat(still=3601, is_long=True), 1: beat(still=3601, waits=True)}, [0]),
    ({0: beat(still=9999, phase=''), 1: beat(still=1)}, []),
])
def test_stuck(beats, named):
    found = find_stuck(beats, timeout=600, long_timeout=3600)
    text = found or ''
    assert [rank for rank in beats if f'rank {rank} on host a has not moved since iteration' in text] == named
    assert (found is None) == (not named)


def test_the_place_is_in_the_message():
    found = find_stuck({1: beat(still=601, where='read (x.py:3)')}, timeout=600, long_timeout=3600)
    assert found == 'rank 1 on host a has not moved since iteration 7 (training step, in read (x.py:3)) for 601 s'


@pytest.mark.parametrize(('config', 'expected'), [
    (None, dict(timeout=600, long_timeout=3600, lost_after=60)), (False, None), (True, dict(timeout=600)),
    (dict(timeout=60), dict(timeout=60, long_timeout=3600))])
def test_settings(config, expected):
    found = watchdog_settings(config)
    assert found is None if expected is None else found.items() >= expected.items()


@pytest.mark.parametrize(('config', 'message'), [
    (dict(timeot=60), 'env_cfg.watchdog has no timeot; it may hold timeout, long_timeout, lost_after'),
    (dict(timeout=0), 'env_cfg.watchdog.timeout must be a positive number of seconds, got 0'),
    (dict(timeout='1h'), "must be a positive number of seconds, got '1h'; env_cfg.watchdog=False")])
def test_bad_settings(config, message):
    with pytest.raises(ValueError, match=message):
        watchdog_settings(config)


@pytest.mark.parametrize(('error', 'expected'), [
    (RuntimeError('[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer'), True),
    (distributed.DistBackendError('NCCL error'), True),
    (ValueError('gloo'), False), (torch.OutOfMemoryError('CUDA out of memory'), False)])
def test_echoes(error, expected):
    assert is_echo(error) is expected


def test_place_of_a_thread():
    def sleeper():
        time.sleep(2)

    thread = threading.Thread(target=sleeper, daemon=True)
    thread.start()
    time.sleep(0.1)
    where, waits = place(sys._current_frames()[thread.ident])
    assert where.startswith('sleeper (test_watchdog.py:') and not waits
    assert place(None) == ('', False)
