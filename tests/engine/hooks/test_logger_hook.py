"""Files of the log: the main process alone writes them."""
import json
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine import dist

from maskforge.engine.hooks import LoggerHook


def runner_of(folder):
    processor = SimpleNamespace(get_log_after_epoch=lambda *_, **__: ({'mAP': torch.tensor(0.5), 'time': 1.25}, 'done'))
    return SimpleNamespace(log_processor=processor, test_dataloader=[0], logger=logging.getLogger('hook'),
                           log_dir=str(folder), _log_dir=str(folder), work_dir=str(folder), timestamp='now',
                           visualizer=SimpleNamespace(close=lambda: None))


@pytest.mark.parametrize(('rank', 'files'), [(0, ['now.json']), (1, []), (2, [])])
def test_metrics_of_a_test_are_written_once(rank, files, tmp_path, monkeypatch):
    monkeypatch.setattr(dist, 'get_rank', lambda group=None: rank)
    monkeypatch.setattr(dist, 'is_main_process', lambda group=None: rank == 0)
    hook, runner = LoggerHook(), runner_of(tmp_path)
    hook.before_run(runner)
    hook.after_test_epoch(runner)
    assert [path.name for path in tmp_path.iterdir()] == files
    for name in files:
        assert json.loads((tmp_path / name).read_text()) == {'mAP': 0.5, 'time': 1.25}


@pytest.mark.parametrize(('rank', 'copied'), [(0, True), (1, False)])
def test_logs_are_moved_once(rank, copied, tmp_path, monkeypatch):
    monkeypatch.setattr(dist, 'is_main_process', lambda group=None: rank == 0)
    logs, target = tmp_path / 'logs', tmp_path / 'target'
    logs.mkdir()
    (logs / 'run.log').write_text('lines')
    hook, runner = LoggerHook(out_dir=str(target), keep_local=False), runner_of(logs)
    hook.before_run(runner)
    hook.after_run(runner)
    assert bool(list(target.rglob('run.log'))) == copied
    assert (logs / 'run.log').exists() != copied
