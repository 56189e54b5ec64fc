"""The main job, from drawing the data to the pictures of the ONNX file, in a copy of the repository."""
import shutil
import sys

import pytest
from commands import ROOT, run

pytestmark = pytest.mark.slow


def test_quickstart_from_nothing_to_a_checked_onnx_file(tmp_path):
    copy = tmp_path / 'maskforge'
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns('.*', 'data', 'work_dirs', '*.egg-info', '__pycache__'))
    done = run(sys.executable, '-m', 'maskforge.cli.main', 'quickstart', '--images', '24', '--val-images', '8',
               '--epochs', '1', cwd=copy, PYTHONPATH=str(copy))
    work_dir = copy / 'work_dirs' / 'quickstart'
    for name in ('index.html', 'curves.png', 'model.onnx', 'model.check.json', 'browse/index.html',
                 'predictions/predictions.json'):
        assert (work_dir / name).stat().st_size > 0
    assert len(list((work_dir / 'predictions' / 'vis').iterdir())) == 8
    for words in ('bbox_mAP', 'segm_mAP', 'largest difference ONNX - PyTorch', 'result page:'):
        assert words in done.stdout
