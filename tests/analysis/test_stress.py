"""The stress tests' own arithmetic, and a small one of each."""
import mmap
import os
import sys
from pathlib import Path

import pytest

from maskforge.analysis import stress_memory, stress_resume
from maskforge.analysis.stress_interruption import Interruption
from maskforge.analysis.stress_process import StressProcess

CONFIGS = Path(__file__).parents[2] / 'tools' / 'stress' / 'configs'
linux_only = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')


def _report(*interruptions, differences=((),)):
    return stress_resume.ResumeReport('by_epoch', 2, 160, list(interruptions), [list(one) for one in differences], 90.)


def test_report():
    rows = [Interruption('SIGKILL of all', 'save', True, 17, -9, 15),
            Interruption('SIGTERM to all', 'random', False, 40, 143, 40),
            Interruption('SIGKILL of all', 'start', False, None, -9, 40),
            Interruption('SIGKILL of all', 'random', False, 44, -9, 42)]
    assert [row.lost for row in rows] == [2, 0, 0, 2]
    report = _report(*rows)
    lines = [line.split() for line in report.text().splitlines()]
    assert report.exact and lines[0][:6] == ['by_epoch:', '160', 'iterations,', '2', 'processes,', '4']
    assert lines[2] == ['SIGKILL', 'of', 'all', '3', '1', '1', '4', '2']
    assert lines[4] == ['all', '4', '1', '1', '4', '2'] and 'equal bit for bit' in report.text()
    assert rows[0].text() == 'SIGKILL of all at iteration 17, in a save, exit code -9'
    assert rows[2].text() == 'SIGKILL of all in its start, exit code -9'


@pytest.mark.parametrize('report', [
    _report(differences=[[], ['optimizer.state.0.exp_avg']]),
    _report(Interruption('SIGTERM', 'random', False, 12, 143, 11))])
def test_what_is_not_exact(report):
    assert not report.exact


def _process(tmp_path, text):
    process = object.__new__(StressProcess)
    process.log = tmp_path / 'log'
    process.log.write_text(text)
    return process


@pytest.mark.parametrize(('text', 'iteration', 'continued'), [
    ('', None, None),
    ('maskforge: nothing to resume in w, training starts from the beginning\n'
     '... INFO - Epoch(train) [2][ 3/20]  lr: 1\n... INFO - Epoch(val) [2][4/4]  x', 23, 0),
    ('INFO - continuing w/iter_6.pth at epoch 0, iteration 6\n', None, 6),
    ('INFO - continuing w/iter_6.pth at epoch 0, iteration 6\nINFO - Iter(train) [  7/160]  lr: 1', 7, 6)])
def test_logs_are_read(tmp_path, text, iteration, continued):
    process = _process(tmp_path, text)
    assert (process.iteration(), process.continued_at()) == (iteration, continued)


def test_slopes():
    rows = [(i, 100 + (i if i <= 200 else 200) / 10 + 0.001 * i) for i in range(20, 1020, 20)]
    found = stress_memory.memory_slope('main process', rows, after=200)
    assert found.slope == pytest.approx(1.0) and 120 < found.first < found.last < 122
    assert found.change == pytest.approx(0.006, abs=0.001)
    assert 'main process' in stress_memory.table([found]).splitlines()[1]
    with pytest.raises(ValueError, match='3 samples after the warm-up are too few'):
        stress_memory.memory_slope('worker 0', rows[:3], after=0)


@linux_only
def test_resident_memory():
    before = stress_memory.resident(os.getpid())
    with mmap.mmap(-1, 40 * 2**20) as block:  # an array might lie in memory that was freed before
        block.write(bytes(40 * 2**20))
        grown = stress_memory.resident(os.getpid()) - before
    assert 30 < grown < 100


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize('loop', ['by_epoch', 'by_iteration'])
def test_a_few_interruptions(tmp_path, loop):
    options = ['--cfg-options', *(['train_cfg.max_epochs=2'] if loop == 'by_epoch' else ['train_cfg.max_iters=30'])]
    report = stress_resume.run(CONFIGS / f'{loop}.py', kills=3, work_dir=tmp_path, options=options)
    assert report.exact and len(report.interruptions) == 3, report.text()
