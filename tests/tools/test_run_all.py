"""The command that runs all benchmarks knows them."""
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmarks'


def test_scripts_are_there_and_take_their_arguments(monkeypatch):
    monkeypatch.setattr(sys, 'path', [str(FOLDER), *sys.path])
    found = runpy.run_path(str(FOLDER / 'run_all.py'))
    for script, arguments in {**found['RATIOS'], **found['OTHERS']}.items():
        text = (FOLDER / f'{script}.py').read_text() + (FOLDER / 'benchmark_arguments.py').read_text()
        assert not [flag for flag in arguments if flag.startswith('--') and f"'{flag}'" not in text]
    against_a_peer = {path.stem for path in FOLDER.glob('*.py') if 'return finish(' in path.read_text()}
    assert against_a_peer <= found['RATIOS'].keys() | {'gpu', 'training_steps'}
