"""Several processes share a job, and any number of them may finish it."""
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

from maskforge.inference import run_inference

SCRIPT = '''
import importlib.util, os, sys
place = importlib.util.spec_from_file_location('toy_detector', {conftest!r})
toy = importlib.util.module_from_spec(place)
place.loader.exec_module(toy)
if {die} and os.environ['RANK'] == '1':
    from maskforge.inference.predictor import TorchPredictor
    def dies(self, prepared):
        raise KeyboardInterrupt
    TorchPredictor.predict = dies
from maskforge.cli.infer import main
sys.exit(main({arguments!r} + ['--launcher', 'pytorch']))
'''


def share(folder, out, *arguments, processes=2, die=False):
    words = [str(folder / 'toy.pth'), *map(str, arguments), '--out-dir', str(out), '--device', 'cpu', '--labels']
    script = out.parent / 'script.py'
    script.write_text(SCRIPT.format(conftest=str(Path(__file__).with_name('conftest.py')), die=die, arguments=words))
    return subprocess.run([sys.executable, '-m', 'torch.distributed.run', f'--nproc-per-node={processes}',
                           '--master-port=0', '--rdzv-backend=c10d', '--rdzv-endpoint=localhost:0', str(script)],
                          env=environment(), capture_output=True, text=True, timeout=300, check=False)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def alone(toy, photos, tmp_path):
    run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'alone', batch_size=2, device='cpu', labels=True)
    return content(tmp_path / 'alone')


def test_files_do_not_depend_on_the_number_of_processes(toy, photos, tmp_path, alone):
    done = share(toy, tmp_path / 'two', photos, '--batch-size', '2')
    assert done.returncode == 0, done.stderr[-3000:]
    assert content(tmp_path / 'two') == alone


@pytest.mark.slow
def test_one_process_finishes_what_two_began(toy, photos, tmp_path, alone):
    assert share(toy, tmp_path / 'cut', photos, '--batch-size', '2', die=True).returncode != 0
    assert sorted(path.name for path in (tmp_path / 'cut').glob('*.journal*')) == [
        'predictions.journal', 'predictions.journal.1']
    run_inference(str(toy / 'toy.pth'), str(photos), out_dir=tmp_path / 'cut', batch_size=2, device='cpu', labels=True)
    assert content(tmp_path / 'cut') == alone


def test_restart_forgets_the_journals_of_all_processes(toy, photos, tmp_path, alone):
    (tmp_path / 'new').mkdir()
    (tmp_path / 'new' / 'predictions.journal.1').write_text('{"model": "another"}\n')
    with pytest.raises(ValueError, match='results of another job'):
        run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'new', batch_size=2, device='cpu', labels=True)
    run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'new', batch_size=2, device='cpu', labels=True,
                  resume=False)
    assert content(tmp_path / 'new') == alone
