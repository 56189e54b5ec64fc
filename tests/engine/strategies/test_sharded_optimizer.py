"""Dealing parameters out to processes; steps are tested with several of them in test_two_processes."""
import pytest
import torch

from maskforge.engine.strategies import sharded_optimizer
from maskforge.engine.strategies.sharded_optimizer import deal_out


@pytest.mark.parametrize('sizes, shares, expected', [
    ([], 2, []), ([5], 3, [0]), ([4, 3, 3], 2, [0, 1, 1]), ([1, 1, 1, 1], 2, [0, 1, 0, 1]), ([0, 0], 2, [0, 1]),
    ([1, 8, 2, 4, 1], 2, [1, 0, 1, 1, 1])])
def test_largest_first_to_the_smallest_share(sizes, shares, expected):
    assert deal_out(sizes, shares) == expected


def test_shares_are_even():
    sizes = [int(size) for size in torch.randint(1, 1000, (200,), generator=torch.Generator().manual_seed(0))]
    owners = deal_out(sizes, 8)
    totals = [sum(size for size, owner in zip(sizes, owners) if owner == share) for share in range(8)]
    assert max(totals) - min(totals) <= max(sizes)


def test_buckets_hold_one_dtype_and_are_bounded(monkeypatch):
    monkeypatch.setattr(sharded_optimizer, 'BUCKET_BYTES', 40)
    tensors = [torch.zeros(4), torch.zeros(5), torch.zeros(1), torch.zeros(3, dtype=torch.float64), torch.zeros(99)]
    buckets = [[len(tensor) for tensor in bucket] for bucket in sharded_optimizer._buckets(tensors)]
    assert buckets == [[4, 5, 1], [3], [99]]
