"""Calls in a thread: in order, few at a time, with their errors, and without a thread that stays."""
import threading
import time
import traceback

import pytest
import torch

from maskforge.engine.background_calls import BackgroundCalls


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith('background calls')]


class Recorder:
    """Notes what it is called with, and where; ``gate`` lets one call after the other go on."""

    def __init__(self, *, fails_at=None):
        self.seen, self.places, self.fails_at, self.gate = [], set(), fails_at, threading.Semaphore(0)

    def __call__(self, *, number):
        assert self.gate.acquire(timeout=20)
        self.places.add(threading.current_thread())
        self.seen.append(number)
        if number == self.fails_at:
            raise LookupError(f'batch {number}')

    def open(self, calls=1000):
        self.gate.release(calls)


@pytest.fixture(autouse=True)
def _no_thread_stays():
    yield
    assert not threads()


def test_calls_are_made_in_order_and_all_are_done_at_the_end():
    recorder = Recorder()
    calls = BackgroundCalls(recorder)
    recorder.open()
    for first in (0, 20):  # as often as wanted
        with calls:
            for number in range(first, first + 20):
                calls(number=number)
        assert recorder.seen == list(range(first + 20))
    assert threading.main_thread() not in recorder.places and len(recorder.places) == 2


def test_outside_of_the_context_calls_are_direct():
    recorder = Recorder(fails_at=1)
    recorder.open()
    calls = BackgroundCalls(recorder)
    calls(number=0)
    assert recorder.places == {threading.main_thread()}
    with pytest.raises(LookupError):
        calls(number=1)


def test_one_works_two_wait_and_the_fourth_finds_no_room():
    recorder, made = Recorder(), []
    calls = BackgroundCalls(recorder)

    def let_one_go_on():
        time.sleep(0.2)
        made.append(list(made))
        recorder.open(1)

    with calls:
        for number in range(3):
            calls(number=number)
            made.append(number)
        helper = threading.Thread(target=let_one_go_on)
        helper.start()
        calls(number=3)
        helper.join()
        assert made == [0, 1, 2, [0, 1, 2]] and recorder.seen[:1] == [0] and len(calls._open) == 3
        recorder.open()
    assert recorder.seen == [0, 1, 2, 3]


@pytest.mark.parametrize('last', [3, 1], ids=['by the next call', 'at the end'])
def test_an_error_arrives_as_it_was(last):
    recorder, made = Recorder(fails_at=1), []
    recorder.open()
    with pytest.raises(LookupError, match='batch 1') as caught, BackgroundCalls(recorder) as calls:
        for number in range(last + 1):
            calls(number=number)
            made.append(number)
            while calls._open and not calls._open[-1].done():
                time.sleep(0.001)
    assert made == [0, 1] and recorder.seen == [0, 1]
    frames = ''.join(traceback.format_tb(caught.value.__traceback__))
    assert "raise LookupError(f'batch {number}')" in frames


def test_what_stands_behind_an_error_is_left_out():
    recorder = Recorder(fails_at=0)
    with pytest.raises(LookupError), BackgroundCalls(recorder) as calls:
        for number in range(3):
            calls(number=number)
        recorder.open()
    assert recorder.seen == [0]


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit, ValueError])
def test_an_error_of_the_caller_leaves_out_what_waits(error):
    recorder = Recorder()
    with pytest.raises(error), BackgroundCalls(recorder) as calls:
        for number in range(3):
            calls(number=number)
        threading.Timer(0.1, recorder.open).start()
        raise error
    assert recorder.seen == [0]


@pytest.mark.gpu
def test_device_and_stream_are_the_callers():
    places = []
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), BackgroundCalls(lambda: places.append(torch.cuda.current_stream())) as calls:
        calls()
    assert places == [stream]
