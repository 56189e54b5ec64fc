import sys

import pytest
import torch
import torch.multiprocessing as processes
from sam2_processes import CASES, train_rank
from tiny_clips import ALWAYS, gradients, losses_of, tiny_batch, tiny_sam2, total

from maskforge.models.sam2.zero_gradients import with_zero_gradients


def test_the_value_stays_and_every_parameter_has_a_gradient():
    used, unused, frozen = (torch.nn.Parameter(torch.full((2, 3), 4.)) for _ in range(3))
    frozen.requires_grad_(False)
    losses = with_zero_gradients(dict(unweighted_a=torch.ones(()), loss_a=used.sum()), [used, unused, frozen])
    assert losses['loss_a'].item() == 24. and losses['unweighted_a'].item() == 1.
    losses['loss_a'].backward()
    assert torch.equal(used.grad, torch.ones(2, 3)) and torch.equal(unused.grad, torch.zeros(2, 3))
    assert frozen.grad is None


def test_one_process_leaves_unused_parameters_alone():
    found = gradients(tiny_sam2(**CASES['clicks']), tiny_batch(1))
    assert not any('memory' in name for name in found)  # an image has none
    assert 'network.no_mem_pos_enc' not in found and 'network.mask_downsample.weight' not in found


def test_a_step_of_true_masks_alone_can_be_taken():
    prompts = dict(**ALWAYS['masks'], rand_init_cond_frames_for_train=False)
    model = tiny_sam2(prompts=prompts)
    found = gradients(model, tiny_batch(2))
    assert found.keys() == dict(model.named_parameters()).keys() and not any(value.any() for value in found.values())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='gloo over a file')
def test_two_processes(tmp_path):
    """Every parameter has a gradient on every step, the same on both, that of all objects together."""
    processes.spawn(train_rank, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    for kind, settings in CASES.items():
        assert all(value is not None for value in first[kind].values())
        assert first[f'{kind} generator'] == second[f'{kind} generator']
        model = tiny_sam2(**settings)
        sums = dict.fromkeys(first[kind], 0.)
        for rank in range(2):
            own = tiny_sam2(**settings)
            for frames in (2, 1, 2):
                own.zero_grad(set_to_none=True)
                losses = losses_of(own, tiny_batch(frames, (1 + rank,), seed=rank), seed=rank)
            total(losses).backward()
            for name, parameter in own.named_parameters():
                if parameter.grad is not None:
                    sums[name] = sums[name] + parameter.grad * (1 + rank) / 3
        for name in dict(model.named_parameters()):
            assert torch.equal(first[kind][name], second[kind][name])
            expected = sums[name] if isinstance(sums[name], torch.Tensor) else torch.zeros_like(first[kind][name])
            torch.testing.assert_close(first[kind][name], expected, rtol=1e-3, atol=2e-6)
