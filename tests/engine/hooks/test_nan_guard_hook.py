"""Divergence is named: iteration, term, images."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from maskforge.engine.hooks import CheckpointHook, NaNGuardHook
from maskforge.structures import DetDataSample


class AddImages(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        data_batch['data_samples'] += [DetDataSample(metainfo=dict(img_id=runner.iter, img_path=f'{runner.iter}.jpg'))]


def diverge_at(*iterations, value=float('nan')):
    def outputs(iteration):
        mask = torch.tensor(value if iteration + 1 in iterations else 0.5)
        return dict(loss=mask + 1, loss_cls=torch.tensor(1.0), loss_mask=mask)
    return outputs


@pytest.mark.parametrize(('value', 'word'), [(float('nan'), 'nan'), (float('inf'), 'inf')])
def test_message_and_file(make_runner, value, word):
    runner = make_runner(AddImages(), NaNGuardHook())
    with pytest.raises(FloatingPointError, match=rf'^loss_mask is {word} at iteration 5 \(epoch 2\) on rank 0. '
                                                 'Images: 4.jpg. .*bad_loss_iter_5_rank_0.json'):
        runner.train(diverge_at(5, value=value))
    assert runner.iter == 5  # read while the sixth iteration runs
    stored = json.loads((Path(runner.work_dir) / 'bad_loss_iter_5_rank_0.json').read_text())
    assert stored['losses'] == dict(loss=word, loss_cls='1.0', loss_mask=word)
    assert stored['batch'] == [dict(img_id=4, img_path='4.jpg')]


@pytest.mark.parametrize('options', [dict(interval=1), dict(interval=3, by_epoch=False)])
def test_bad_weights_reach_no_checkpoint(make_runner, options):
    runner = make_runner(NaNGuardHook(), CheckpointHook(**options))
    with pytest.raises(FloatingPointError, match='iteration 6'):
        runner.train(diverge_at(6))
    assert not list(Path(runner.work_dir).glob('*_6.pth')) and not (Path(runner.work_dir) / 'epoch_2.pth').exists()


def test_last_iteration_counts(make_runner):
    with pytest.raises(FloatingPointError, match='iteration 12'):
        make_runner(NaNGuardHook()).train(diverge_at(12))


def test_tolerance_and_warning(make_runner, caplog):
    make_runner(NaNGuardHook(tolerance=1)).train(diverge_at(2, 5, 9))
    with pytest.raises(FloatingPointError, match='iteration 3'):
        make_runner(NaNGuardHook(tolerance=1)).train(diverge_at(2, 3))
    caplog.clear()
    make_runner(NaNGuardHook(action='warn')).train(diverge_at(2, 3, 4))
    assert sum('loss_mask is nan' in record.message for record in caplog.records) == 3


@pytest.mark.parametrize(('options', 'word'), [(dict(action='skip'), "'raise' or 'warn', got 'skip'"),
                                               (dict(tolerance=-1), 'must not be negative')])
def test_wrong_arguments(options, word):
    with pytest.raises(ValueError, match=word):
        NaNGuardHook(**options)
