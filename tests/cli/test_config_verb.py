"""maskforge config."""
import pytest

from maskforge.cli.config import main
from maskforge.config import load_config

NAME = 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'


def test_list_and_print(capsys, tmp_path):
    assert main(['--list']) == 0
    assert f'maskforge::{NAME}' in capsys.readouterr().out
    assert main([f'maskforge::{NAME}', '--cfg-options', 'train_cfg.max_epochs=3']) == 0
    assert 'max_epochs=3' in capsys.readouterr().out
    assert main([f'maskforge::{NAME}', '--save-path', str(tmp_path / 'a.py')]) == 0
    assert load_config(tmp_path / 'a.py').model.type == 'MaskRCNN'


def test_explain(capsys):
    assert main([f'maskforge::{NAME}', '--explain', 'optim_wrapper.optimizer.lr']) == 0
    out = capsys.readouterr().out
    assert 'optim_wrapper.optimizer.lr = 0.02' in out and 'schedule_1x.py:' in out


@pytest.mark.parametrize('flags', [[], ['--whole']])
def test_copy(flags, tmp_path, capsys):
    assert main(['--copy', NAME, '--to', str(tmp_path), *flags]) == 0
    copied = load_config(tmp_path / 'mask-rcnn_r50_fpn_1x_coco.py').to_dict()
    assert copied['model'] == load_config(f'maskforge::{NAME}').to_dict()['model']
    assert main(['--copy', NAME, '--to', str(tmp_path)]) == 2
    assert 'exists already' in capsys.readouterr().err


def test_lint(tmp_path, capsys):
    bad = tmp_path / 'bad.py'
    bad.write_text(f"_base_ = 'maskforge::{NAME}'\ntrain_cfg = dict(max_epochs=6)\nmodle = 3\n")
    assert main([str(bad), '--lint']) == 1
    out = capsys.readouterr().out
    assert 'milestone 8 is never reached' in out and 'did you mean model' in out and '1 configs checked, 1 with' in out
    assert main(['--lint', 'gone.py']) == 1
    assert main([]) == 2
