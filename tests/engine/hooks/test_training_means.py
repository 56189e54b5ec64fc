"""Means of training losses: all iterations, all processes, and through a checkpoint."""
import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as processes
from mmengine.logging import MessageHub

from maskforge.engine.distributed import leave
from maskforge.engine.hooks.training_means import KEY, TrainingMeans


@pytest.fixture
def hub():
    found = MessageHub.get_instance('means')
    found.runtime_info.clear()
    return found


def test_losses_alone_and_only_since_the_last_time(hub):
    means = TrainingMeans()
    for value in (1.0, torch.tensor(2.0), 6.0):
        means.add(hub, dict(loss=value, loss_ce=2 * value, acc=9.0, lr=1.0))
    assert means.take(hub) == dict(train_loss=3.0, train_loss_ce=6.0)
    means.add(hub, dict(loss=4.0))
    assert means.take(hub) == dict(train_loss=4.0)
    assert means.take(hub) == {}


def test_a_stored_part_is_taken_up(hub):
    first = TrainingMeans()
    first.add(hub, dict(loss=torch.tensor(0.1)))
    first.store(hub)
    second = TrainingMeans()
    for means in (first, second):
        for value in (0.7, 0.3):
            means.add(hub, dict(loss=torch.tensor(value)))
    state = dict(hub.runtime_info)
    assert first.take(hub) == second.take(hub) == {'train_loss': pytest.approx(1.1 / 3)}
    assert list(state) == [KEY] and hub.get_info(KEY) == {}


def _rank(rank, folder):
    torch_dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    hub, means = MessageHub.get_instance('means'), TrainingMeans()
    means.add(hub, dict(loss=1.0 + rank))
    means.store(hub)
    again = TrainingMeans()  # every process resumes from the one file
    for one in (means, again):
        one.add(hub, dict(loss=3.0 + 4 * rank, **({} if rank else dict(loss_of_rank_0=5.0))))
    torch.save([one.take(hub) for one in (again, means)], f'{folder}/{rank}.pt')
    leave()


def test_processes_agree(tmp_path):
    """Else they would train with learning rates of their own."""
    processes.spawn(_rank, (str(tmp_path),), nprocs=2)
    want = dict(train_loss=(1 + 2 + 3 + 7) / 4, train_loss_of_rank_0=5.0)
    assert [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)] == [[want, want]] * 2
