import multiprocessing
import threading

import pytest
import torch

from maskforge.ops.task_threads import run_tasks


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('count', [1, 2, 7, 100])
def test_every_task_runs_once(threads, count):
    torch.set_num_threads(threads)
    done, names = [], set()

    def run(first, last):
        names.add(threading.current_thread().name)
        done.extend(range(first, last))
    run_tasks(run, count)
    assert sorted(done) == list(range(count))
    assert len(names) <= min(threads, count)


def test_a_failure_is_told_after_all_threads_have_stopped():
    torch.set_num_threads(2)

    def run(first, last):
        raise ValueError(f'task {first}')
    with pytest.raises(ValueError, match=r'task \d'):
        run_tasks(run, 10)


def count_in_child(queue):
    done = []
    run_tasks(lambda first, last: done.extend(range(first, last)), 10)
    queue.put(sorted(done))


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs fork')
@pytest.mark.filterwarnings('ignore:This process:DeprecationWarning')
def test_a_forked_process_starts_its_own_threads():
    torch.set_num_threads(2)
    run_tasks(lambda first, last: None, 10)
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=count_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == list(range(10))
    child.join(60)
    assert child.exitcode == 0
