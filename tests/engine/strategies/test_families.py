"""Every family under every strategy, on two gloo processes; ``tools/stress/strategies.py`` does the same on more."""
import pytest
from strategy_runs import FAMILIES, compare

PAIRS = {'mal': ('fsdp>ddp', 'ddp>fsdp'), 'sam2': ('ddp_sharded>fsdp', 'fsdp>ddp_sharded')}


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_strategies_train_alike(family, tmp_path):
    """20 iterations: DDP is what its ranks are in one process; the others, also half way under each, are DDP."""
    found = compare(family, 2, tmp_path, pairs=PAIRS.get(family, ()))
    assert {run: weights for run, (weights, _) in found.items() if weights > 1e-5} == {}
    assert {run: state for run, (_, state) in found.items() if state > 1e-4} == {}
