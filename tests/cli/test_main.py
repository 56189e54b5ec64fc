"""The command itself: verbs, quick help, errors in one line."""
import subprocess
import sys
from pathlib import Path

import pytest

from maskforge.cli import main as cli
from maskforge.cli.doctor import explain_import_error, installed_opencvs
from maskforge.cli.errors import one_line, users_fault

# each takes a good part of the half second that help may take, or is imported by one that does
HEAVY = ('PIL', 'cv2', 'matplotlib', 'mmcv', 'mmengine', 'numpy', 'pycocotools', 'scipy', 'timm', 'torch',
         'torchvision', 'transformers')
ASK_ALL = '''
import contextlib, io, sys
from maskforge.cli.main import VERBS, main
for verb in [None, *VERBS, *(f'convert {name}' for name in ('via', 'sav_frames')), 'analyze-logs plot_curve']:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([*(verb or '').split(), '--help'])
    found = sorted(set(sys.argv[1:]) & set(sys.modules))
    if found:
        sys.exit(f'{verb} --help imports {found}')
'''


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, '-c', ASK_ALL, *HEAVY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('script', sorted((Path(__file__).resolve().parents[2] / 'tools').glob('*.py')),
                         ids=lambda path: path.name)
def test_scripts_import_nothing_heavy(script):
    code = f'import runpy, sys; runpy.run_path({str(script)!r}); sys.exit({{*{HEAVY}}} & {{*sys.modules}} or 0)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name', cli.VERBS)
def test_verbs_have_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, '--help'])
    assert stop.value.code == 0
    assert f'usage: maskforge {name}' in capsys.readouterr().out


def test_unknown_verb(capsys):
    assert cli.main(['trian']) == 2
    assert "there is no verb 'trian'; did you mean train" in capsys.readouterr().err
    assert cli.main([]) == 2
    assert cli.main(['--version']) == 0


@pytest.mark.parametrize(('argv', 'message'), [
    (['train', 'no_such.py'], 'config file no_such.py does not exist.'),
    (['train', 'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '--cfg-options', 'modle.x=1'],
     'modle: nothing reads this key. did you mean model'),
    (['train', 'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '--options', 'model.backbone.dept=1'],
     'model.backbone.dept: ResNet has no such argument. did you mean depth'),
    (['train', 'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '--options', 'a=[1'], "option 'a=[1': unbalanced"),
    (['train', 'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '--resume-from', 'gone.pth'],
     '--resume-from gone.pth: the file does not exist'),
    (['test', 'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'gone.pth'], 'checkpoint gone.pth does not exist'),
    (['export', 'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'gone.pth'], 'checkpoint gone.pth does not exist'),
    (['infer', 'gone.pth', 'a.jpg'], 'model gone.pth does not exist'),
    (['check-data', 'gone.json'], 'gone.json'),
])
def test_one_line_errors(argv, message, capsys):
    assert cli.main(argv) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('maskforge: error: ')]
    assert len(lines) == 1 and message in lines[0]


def test_debug_shows_the_traceback(monkeypatch):
    with pytest.raises(FileNotFoundError):
        cli.main(['train', 'no_such.py', '--debug'])
    monkeypatch.setenv('MASKFORGE_DEBUG', '1')
    with pytest.raises(FileNotFoundError):
        cli.main(['train', 'no_such.py'])


def caught(action):
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError('nothing was raised')


def test_whose_fault():
    assert not users_fault(caught(lambda: {}['key']))
    assert not users_fault(caught(lambda: int('a b')))  # raised by this file, not by maskforge
    assert users_fault(caught(lambda: Path('/no/such/file').read_text()))
    from maskforge.config import parse_value
    assert users_fault(caught(lambda: parse_value('[1')))
    assert one_line(KeyError("'a' is\n missing")) == "'a' is missing"


def test_doctor(capsys):
    assert cli.main(['doctor']) in (0, 1)
    text = capsys.readouterr().out
    assert 'torch' in text and 'opencv' in text
    assert len(installed_opencvs()) >= 1
    assert 'opencv-python-headless' in explain_import_error('cv2', 'libGL.so.1: cannot open shared object file')
    assert 'pip install mmcv-lite' in explain_import_error('mmcv', "No module named 'mmcv'")
