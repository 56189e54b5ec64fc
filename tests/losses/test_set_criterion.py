import sys

import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as processes
from mmengine import MessageHub

from maskforge.losses.set_criterion import (
    average_count,
    current_iteration,
    name_layers,
    overflow_is_expected,
    padded_targets,
    sum_by_layer,
)


def test_count_is_at_least_one():
    like = torch.zeros(1, dtype=torch.float16)
    assert [average_count(count, like).item() for count in (0, 1, 7)] == [1, 1, 7]
    assert average_count(70000, like).item() == 70000  # float32 whatever the predictions are


def _rank(rank, folder):
    torch_dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    found = [average_count(counts[rank], torch.zeros(1)).item() for counts in ((3, 8), (0, 1), (0, 0))]
    if rank == 0:  # the other process has no such batch: nobody waits for it
        with torch.no_grad():
            assert average_count(9, torch.zeros(1)).item() == 9
    torch.save(found, f'{folder}/{rank}.pt')
    torch_dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == 'win32', reason='gloo over a file')
def test_count_is_the_mean_over_processes(tmp_path):
    processes.spawn(_rank, (str(tmp_path),), nprocs=2)
    assert [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)] == [[5.5, 1, 1]] * 2


def test_sums_and_names():
    sums = sum_by_layer(torch.tensor([1., 2, 4]), torch.tensor([2, 0, 2]), 3)
    assert sums.tolist() == [2, 0, 5]
    named = {name: value.item() for name, value in name_layers(dict(loss_ce=sums, loss_bbox=sums[:1])).items()}
    assert named == dict(loss_ce=5, loss_ce_0=2, loss_ce_1=0, loss_bbox=2)


def test_padding_of_targets():
    padded = padded_targets([torch.ones(2, 4), torch.zeros(0, 4), torch.ones(1, 4)])
    assert padded.shape == (3, 2, 4) and padded.sum((1, 2)).tolist() == [8, 0, 4]
    assert padded_targets([torch.zeros(0, 4)] * 2).shape == (2, 0, 4)
    assert padded_targets([torch.zeros(0, dtype=torch.long)] * 2).shape == (2, 0)


def test_iteration_of_the_run():
    hub = MessageHub.get_current_instance()
    hub.runtime_info.pop('iter', None)
    assert current_iteration() == ''
    hub.update_info('iter', 16)
    assert current_iteration() == 'iteration 17'
    hub.runtime_info.pop('iter')


def test_overflow_is_expected_with_float16_only():
    device = torch.device('cpu')
    assert not overflow_is_expected(device)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert not overflow_is_expected(device)
    with torch.autocast('cpu', dtype=torch.float16):
        assert overflow_is_expected(device)
