"""The arithmetic of the linear scaling rule."""
from types import SimpleNamespace

import pytest

from maskforge.engine import learning_rate_scaling
from maskforge.engine.learning_rate_scaling import machine_count, samples_per_step, scaling


@pytest.mark.parametrize(('facts', 'factor', 'text'), [
    (dict(world_size=4, batch_size=2, accumulative_counts=1), 0.5,
     '4 processes x 2 images x 1 accumulated = batch 8; base_batch_size 16; learning rate x 0.5'),
    (dict(world_size=16, batch_size=2, accumulative_counts=4, machines=2), 8,
     '16 processes on 2 machines x 2 images x 4 accumulated = batch 128; base_batch_size 16; learning rate x 8'),
    (dict(world_size=2, batch_size=2.5, accumulative_counts=1, sources=' (mean of the sources: 1 x 0.5 + 4 x 0.5)'),
     0.3125, '2 processes x 2.5 images (mean of the sources: 1 x 0.5 + 4 x 0.5) x 1 accumulated = batch 5;'),
])
def test_arithmetic(facts, factor, text):
    found, told = scaling(dict(base_batch_size=16), **facts)
    assert found == pytest.approx(factor) and text in told


@pytest.mark.parametrize(('sizes', 'shares', 'expected'), [
    ([4, 1], [0.25, 0.75], (1.75, ' (mean of the sources: 4 x 0.25 + 1 x 0.75)')), ([2, 2], [0.3, 0.7], (2, ''))])
def test_sources(sizes, shares, expected):
    sampler = SimpleNamespace(batch_sizes=sizes, source_shares=shares, batch_size=max(sizes))
    assert samples_per_step(SimpleNamespace(batch_sampler=sampler, batch_size=None)) == expected


def test_one_source():
    assert samples_per_step(SimpleNamespace(batch_sampler=SimpleNamespace(batch_size=3), batch_size=None)) == (3, '')


@pytest.mark.parametrize(('variable', 'world', 'expected'), [
    ('GROUP_WORLD_SIZE', 8, 2), ('SLURM_STEP_NUM_NODES', 8, 2), ('SLURM_STEP_NUM_NODES', 1, 1), (None, 8, 1)])
def test_machines(monkeypatch, variable, world, expected):
    for name in ('GROUP_WORLD_SIZE', 'SLURM_STEP_NUM_NODES', 'SLURM_JOB_NUM_NODES'):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, '2')
    monkeypatch.setattr(learning_rate_scaling, 'get_world_size', lambda: world)
    assert machine_count() == expected
