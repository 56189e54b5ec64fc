"""``maskforge label`` as users start it: killed at any moment and started again, on one process and on three."""
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT, environment, run
from toy_boxes import write_toy

SUPPORT = str(ROOT / 'tests' / 'support')


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """Config, checkpoint, images, 120 boxes, and what an unbroken run writes."""
    folder = tmp_path_factory.mktemp('labelling')
    write_toy(folder, images=12, boxes=10)
    run(*command(folder, 'whole.json'), PYTHONPATH=SUPPORT)
    return folder


def command(toy: Path, out: str, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / 'tools' / 'infer.py'), str(toy / 'toy.py'), '--weights', str(toy / 'toy.pth'),
            '--ann-file', str(toy / 'boxes.json'), '--img-dir', str(toy / 'photos'), '--out', str(toy / out), *more]


def finished(toy: Path, out: str) -> int:
    return len(list((toy / f'{out}.parts').glob('chunk_*.jsonl')))


def _kill_all(word: str) -> None:
    """Kill every process with this word in its command line: torchrun's workers are in sessions of their own."""
    for entry in Path('/proc').iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word.encode() in (entry / 'cmdline').read_bytes().split(b'\0'):
                os.kill(int(entry.name), 9)


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/cmdline').exists(), reason='finds the processes in /proc')
@pytest.mark.parametrize('processes', [1, 3])
def test_killed_three_times_and_started_again(toy, processes):
    out, moments = f'killed{processes}.json', random.Random(processes)
    words = command(toy, out, '--num-workers', '1', *(['--num-gpus', '3'] if processes == 3 else []))
    before = 0
    for _ in range(3):
        job = subprocess.Popen(words, cwd=ROOT, env=environment(PYTHONPATH=SUPPORT, TOY_DELAY='0.05'),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while finished(toy, out) <= before and job.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.random() * 0.3)
        assert job.poll() is None, job.stderr.read()[-3000:]
        _kill_all(str(toy / out))
        job.communicate()
        now = finished(toy, out)
        assert before < now < 30 and not (toy / out).exists()
        before = now
    # the last start does the rest and no more: it would die one box later
    rest = 120 - 4 * before
    run(*words, PYTHONPATH=SUPPORT, **(dict(TOY_KILL_AFTER=str(rest + 1)) if processes == 1 else {}))
    assert (toy / out).read_bytes() == (toy / 'whole.json').read_bytes()
    assert not (toy / f'{out}.parts').exists()


@pytest.mark.slow
@pytest.mark.parametrize('moment', ['output', 'review', 'removal'])
def test_killed_while_it_ends(toy, moment):
    """A kill after the last chunk: the next start labels nothing and writes the same file."""
    out = f'{moment}.json'
    patch = dict(output='maskforge.inference.label_output.write_json_stream',
                 review='maskforge.inference.label_job.write_review', removal='shutil.rmtree')[moment]
    code = (f'import os, sys, importlib, shutil\nimport maskforge.inference\nmodule, name = {patch!r}.rsplit(".", 1)\n'
            'module = importlib.import_module(module)\nplain = getattr(module, name)\n'
            'def dies(target, *rest, **more):\n'
            '    if name != "rmtree" or str(target).endswith(".done") and os.path.exists(target):\n'
            '        os.kill(os.getpid(), 9)\n'
            '    return plain(target, *rest, **more)\n'
            'setattr(module, name, dies)\nfrom maskforge.cli.infer import main\nsys.exit(main(sys.argv[1:]))')
    words = command(toy, out)
    done = run(sys.executable, '-c', code, *words[2:], check=False, PYTHONPATH=SUPPORT)
    assert done.returncode == -9, done.stderr[-2000:]
    assert finished(toy, out) == (0 if moment == 'removal' else 30)
    run(*words, PYTHONPATH=SUPPORT, **({} if moment == 'removal' else dict(TOY_KILL_AFTER='1')))
    assert (toy / out).read_bytes() == (toy / 'whole.json').read_bytes()
    assert not list(toy.glob(f'*{out}*.*parts')) and not list(toy.glob(f'.{out}*'))


@pytest.mark.slow
def test_three_processes_write_the_same(toy):
    run(*command(toy, 'three.json', '--num-gpus', '3'), PYTHONPATH=SUPPORT)
    assert (toy / 'three.json').read_bytes() == (toy / 'whole.json').read_bytes()


@pytest.mark.slow
def test_an_error_of_one_process_ends_all(toy):
    (toy / 'empty.json').write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    words = command(toy, 'none.json', '--num-gpus', '2', '--ann-file', str(toy / 'empty.json'))
    done = run(*words, check=False, PYTHONPATH=SUPPORT)
    assert done.returncode != 0 and "has no 'images'" in done.stderr


def test_killed_once_and_started_again(toy):
    """The short form for every test run."""
    words = command(toy, 'short.json', '--review', '0')
    done = run(*words, check=False, PYTHONPATH=SUPPORT, TOY_KILL_AFTER='50')
    assert done.returncode == -9 and finished(toy, 'short.json') == 12
    run(*words, PYTHONPATH=SUPPORT, TOY_KILL_AFTER='73')
    assert (toy / 'short.json').read_bytes() == (toy / 'whole.json').read_bytes()
