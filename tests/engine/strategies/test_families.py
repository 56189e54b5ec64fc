"""Every family under every strategy, on two gloo processes; ``tools/stress/strategies.py`` does the same on more."""
import pytest
from strategy_runs import FAMILIES, compare

# (weights, optimizer state); Mask2Former cuts masks at one half and picks points by rank: up to iteration 10 it stays
# within 2e-6, then the order of sums, which FSDP changes, decides one of them
TOLERANCE = {'mask2former': (1e-3, 0.1)}
PAIRS = {'mal': ('fsdp>ddp', 'ddp>fsdp'), 'sam2': ('ddp_sharded>fsdp', 'fsdp>ddp_sharded')}


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_strategies_train_alike(family, tmp_path):
    """20 iterations: DDP is what its ranks are in one process; the others, also half way under each, are DDP."""
    found = compare(family, 2, tmp_path, pairs=PAIRS.get(family, ()))
    for run in ('emulation', 'ddp_sharded'):
        assert max(found.pop(run)) < 1e-5, run
    weights, state = TOLERANCE.get(family, (1e-5, 1e-4))
    assert {run: values for run, values in found.items() if values[0] > weights or values[1] > state} == {}
