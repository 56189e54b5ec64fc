"""MAL's schedule against the formula of its paper's code: linear over one epoch, then half a cosine to a fifth."""
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_SCHEDULERS
from tiny_mal import draw_boxes, tiny_mal_config

from maskforge.engine import Runner
from maskforge.registry import PARAM_SCHEDULERS

CONFIGS = Path(__file__).parents[3] / 'configs'
LENGTH, EPOCHS, RATE, LEAST = 40, 10, 1.0, 0.2


def by_formula(iteration: int) -> float:
    epoch = iteration / LENGTH
    if epoch < 1:
        return RATE * epoch
    return RATE * (LEAST + (1 - LEAST) / 2 * (1 + math.cos(math.pi * (epoch - 1) / (EPOCHS - 1))))


def test_warm_up_and_cosine():
    cfg = Config.fromfile(CONFIGS / '_base_' / 'schedules' / 'mal_10e.py')
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    schedulers = []
    for item in cfg.param_scheduler:
        item = dict(item)
        item.pop('convert_to_iter_based')
        kind = PARAM_SCHEDULERS.get(item.pop('type')) or MMENGINE_SCHEDULERS.get(item['type'])
        schedulers.append(kind.build_iter_from_epoch(optimizer, epoch_length=LENGTH, **item))
    rates = []
    for _ in range(LENGTH * EPOCHS):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    # MMEngine's warm-up ends one iteration earlier, and starts above zero
    assert rates == pytest.approx([by_formula(i) for i in range(LENGTH * EPOCHS)], abs=1.5 / LENGTH)
    assert rates[0] == pytest.approx(1e-3) and max(rates) == RATE
    assert rates[-1] == pytest.approx(LEAST, abs=1e-3)


@pytest.mark.parametrize('batch_size', [1, 4])
def test_the_rate_is_of_one_box(tmp_path, batch_size):
    drawn = draw_boxes(tmp_path / 'data')
    config = tiny_mal_config(drawn, tmp_path / 'run', batch_size=batch_size,
                             train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=100),
                             auto_scale_lr=dict(enable=True, base_batch_size=1))
    config['optim_wrapper']['optimizer']['lr'] = 1e-5
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.optim_wrapper.param_groups[0]['lr'] == pytest.approx(batch_size * 1e-5)
