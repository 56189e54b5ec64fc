"""The shipped configs inside an installed package."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_wheel_carries_the_configs(tmp_path):
    source, site = tmp_path / 'source', tmp_path / 'site'
    source.mkdir()
    for name in ('maskforge', 'configs', 'requirements'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', '-q']
    build = ['wheel', '.', '--no-deps', '--no-build-isolation', '-w', str(tmp_path)]
    subprocess.run([*pip, *build], cwd=source, check=True)
    (wheel,) = tmp_path.glob('*.whl')
    subprocess.run([*pip, 'install', '--no-deps', '--target', str(site), str(wheel)], check=True)
    code = ('import maskforge.config as c; cfg = c.load_config("maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py");'
            'print(c.shipped_configs_dir()); print(len(c.shipped_configs()), cfg.model.type)')
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env={'PYTHONPATH': str(site), 'PATH': '/usr/bin'},
                          capture_output=True, text=True, check=True)
    folder, facts = done.stdout.splitlines()
    assert Path(folder) == site / 'maskforge' / '_configs'
    shipped = [path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert facts == f'{len(shipped)} MaskRCNN'
