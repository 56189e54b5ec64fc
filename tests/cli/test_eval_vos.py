"""``maskforge eval-vos``: flags, files, errors in one line."""
import numpy as np
import pytest

from maskforge.cli import main as cli
from maskforge.formats.vos_results import write_video_masks

NAMES = ['0', '1', '2', '3']


@pytest.fixture
def roots(tmp_path):
    """One video, right but in the last frame; ``pred`` has another one."""
    mask = np.zeros((20, 30), bool)
    mask[5:15, 5:20] = True
    write_video_masks(tmp_path / 'gt' / 'cat', {1: [mask] * 4}, NAMES, size=mask.shape)
    for name in ('cat', 'dog'):
        write_video_masks(tmp_path / 'pred' / name, {1: [mask] * 3 + [None]}, NAMES, size=mask.shape)
    return ['--gt-root', str(tmp_path / 'gt'), '--pred-root', str(tmp_path / 'pred')]


@pytest.mark.parametrize(('flags', 'score'), [
    ([], '100.0'), (['--do-not-skip-first-and-last-frame'], '75.0'), (['--do_not_skip_first_and_last_frame'], '75.0'),
    (['-n', '1', '-q'], '100.0'), (['--num-workers', '2'], '100.0')])
def test_scores(flags, score, roots, tmp_path, capsys):
    assert cli.main(['eval-vos', *roots, *flags]) == 0
    printed = capsys.readouterr().out
    assert f'J&F: {score} J: {score} F: {score}' in printed
    assert ('| cat ' in printed) == ('-q' not in flags)
    assert (tmp_path / 'pred' / 'results.csv').read_text().splitlines()[1:] == [
        f'Global score,,{score},{score},{score}', f'cat,001,{score},{score},{score}']


def test_results_file(roots, tmp_path):
    assert cli.main(['eval-vos', *roots, '--results-file', str(tmp_path / 'scores.csv'), '-q']) == 0
    assert (tmp_path / 'scores.csv').exists() and not (tmp_path / 'pred' / 'results.csv').exists()


@pytest.mark.parametrize(('flags', 'message'), [
    (['--strict'], 'the videos differ (strict)'), (['-s'], 'pred: dog.'), (['-n', '0'], 'num_workers=0'),
    (['--gt_root', 'gone'], 'folder of true masks gone does not exist')])
def test_errors(flags, message, roots, capsys):
    assert cli.main(['eval-vos', *roots, *flags]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('maskforge: error: ')]
    assert len(lines) == 1 and message in lines[0]
