"""``--resume-from`` continues, ``--load-from`` starts over with the weights, ``--auto-scale-lr`` scales."""
import re

import pytest
import torch
from commands import TOY, scalars, tool

pytestmark = pytest.mark.slow


def _losses(work_dir):
    return {line['step']: line['loss'] for line in scalars(work_dir) if 'loss' in line}


def test_resume_from_repeats_the_unbroken_run(trained, tmp_path):
    tool('train.py', TOY, '--work-dir', tmp_path, '--resume-from', trained / 'epoch_1.pth')
    unbroken, resumed = _losses(trained), _losses(tmp_path)
    assert min(resumed) == 6 and max(resumed) == 10  # 9 images, batches of 2: iterations 6 to 10 are left
    assert resumed == {step: unbroken[step] for step in resumed}
    ends = [torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict'] for folder in (trained, tmp_path)]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_load_from_starts_at_epoch_0_with_the_weights(trained, tmp_path):
    tool('train.py', TOY, '--work-dir', tmp_path, '--load-from', trained / 'epoch_2.pth')
    first = _losses(tmp_path)
    assert min(first) == 1 and first[1] != _losses(trained)[1]


def test_auto_scale_lr_halves_for_half_the_batch(tmp_path):
    done = tool('train.py', TOY, '--work-dir', tmp_path, '--auto-scale-lr', '--num-gpus', '4', '--cfg-options',
                'train_cfg.max_epochs=1', 'param_scheduler=[]', check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rates = {line['lr'] for line in scalars(tmp_path) if 'lr' in line}
    assert max(rates) == pytest.approx(0.04 / 2), rates
    assert re.search(r'4 .*2.*16', done.stdout + done.stderr)


def test_auto_scale_lr_without_base_batch_size(tmp_path):
    done = tool('train.py', TOY, '--work-dir', tmp_path, '--auto-scale-lr', '--cfg-options', 'auto_scale_lr=None',
                check=False)
    assert done.returncode == 2 and 'base_batch_size' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


