"""The commands with a key: what they write is encrypted, and the key is in no file, no output, no list of processes."""
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import ROOT, TOY, environment

from maskforge.checkpoints import is_encrypted

KEY = 'kay-in-the-haystack'
pytestmark = pytest.mark.slow


def seen_in_processes() -> list[str]:
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            found += [path.parent.name] if KEY.encode() in path.read_bytes() else []
        except OSError:
            continue
    return found


def run(*command, expected=0, **env) -> str:
    """Run ``maskforge ...``, watch the list of processes meanwhile, and return what it printed."""
    process = subprocess.Popen([sys.executable, '-m', 'maskforge.cli.main', *map(str, command)], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(**env))
    shown: list[str] = []
    deadline = time.time() + 600
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
    reader.start()
    while process.poll() is None and time.time() < deadline:
        shown += seen_in_processes()
        time.sleep(0.2)
    reader.join(10)
    text = ''.join(output)
    assert process.returncode == expected, text[-3000:]
    assert not shown and KEY not in text
    return text


@pytest.mark.skipif(not Path('/proc/self/cmdline').exists(), reason='reads the list of processes from /proc')
def test_from_training_to_prediction(tmp_path):
    (tmp_path / 'key').write_text(KEY + '\n')
    (tmp_path / 'key').chmod(0o600)
    keyed = ('--key-file', tmp_path / 'key')
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = {str(TOY)!r}\npassphrase = '{KEY}'\nencryption_key = passphrase\n")
    run_dir, key_files = tmp_path / 'run', (config, tmp_path / 'key')

    # two processes that get the key by the environment, then by their config
    run('train', TOY, '--work-dir', run_dir, '--num-gpus', 2, '--cfg-options', 'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.async_save=True', MASKFORGE_KEY=KEY)
    assert is_encrypted(run_dir / 'epoch_1.pth')
    assert "encryption_key = '***'" in run('train', config, '--print-config')
    run('train', config, '--work-dir', run_dir, '--resume', '--num-gpus', 2)
    best = run_dir / 'epoch_2.pth'
    assert 'no key to read it with' in run('test', TOY, best, '--work-dir', tmp_path / 'no', expected=2)

    run('test', TOY, best, '--work-dir', tmp_path / 'test', *keyed)
    onnx, picture = tmp_path / 'model.onnx', _picture(tmp_path)
    run('export', TOY, best, '--work-dir', tmp_path / 'export', '--onnx-file', onnx, '--check-images', picture,
        *keyed)
    assert is_encrypted(onnx)
    run('test', TOY, onnx, '--work-dir', tmp_path / 'test_onnx', *keyed)
    for number, model in enumerate((best, onnx)):
        run('infer', model, picture, '--out-dir', tmp_path / f'predictions_{number}', *keyed)
    assert 'was encrypted with another key' in run('infer', onnx, picture, '--out-dir', tmp_path / 'no', expected=2,
                                                   MASKFORGE_KEY='another')
    option = subprocess.run([sys.executable, '-m', 'maskforge.cli.main', 'train', TOY, '--cfg-options',
                             f'encryption_key={KEY}'], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert option.returncode == 2 and 'list of processes' in option.stderr and KEY not in option.stderr

    files = [path for path in tmp_path.rglob('*') if path.is_file() and path not in key_files]
    assert len(files) > 20 and [path for path in files if KEY.encode() in path.read_bytes()] == []
    models = [path for path in files if path.suffix in ('.pth', '.onnx', '.safetensors')]
    assert models and all(map(is_encrypted, models))


def _picture(folder: Path) -> Path:
    path = folder / 'picture.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    return path
