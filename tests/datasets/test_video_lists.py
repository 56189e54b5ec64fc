"""Training and validation lists drawn from a folder of videos."""
import os
from pathlib import Path

import pytest

from maskforge.cli import main as cli
from maskforge.datasets.converters.video_lists import write_lists
from maskforge.datasets.video import PNGRawDataset


@pytest.fixture
def folder(tmp_path):
    """Twenty folders of frames, a video file, an empty folder, a note."""
    for number in range(20):
        (tmp_path / 'videos' / f'v{number:02d}').mkdir(parents=True)
        (tmp_path / 'videos' / f'v{number:02d}' / '00000.jpg').touch()
    (tmp_path / 'videos' / 'file.with.dots.mp4').touch()
    (tmp_path / 'videos' / 'empty').mkdir()
    (tmp_path / 'videos' / 'notes.txt').touch()
    return tmp_path / 'videos'


def test_every_video_is_in_one_list(folder, tmp_path):
    done = write_lists(folder, tmp_path / 'lists', val_fraction=0.2)
    train, val = ((tmp_path / 'lists' / f'{name}.txt').read_text().splitlines() for name in ('train', 'val'))
    assert (train, val) == (done.train, done.val)
    assert (len(train), len(val)) == (17, 4)
    assert sorted(train + val) == ['file.with.dots', *(f'v{number:02d}' for number in range(20))]
    assert str(done) == f'{tmp_path / "lists" / "train.txt"}: 17 videos, {tmp_path / "lists" / "val.txt"}: 4 videos'


def test_seed(folder, tmp_path):
    lists = [write_lists(folder, tmp_path / 'lists', seed=seed).val for seed in (0, 0, 1)]
    assert lists[0] == lists[1] != lists[2]


def test_number_annotations_and_exclusions(folder, tmp_path):
    gt = tmp_path / 'gt'
    for number in range(12):
        (gt / f'v{number:02d}').mkdir(parents=True)
    (gt / 'v12_manual.json').touch()
    (tmp_path / 'bad.txt').write_text('v03\nv04.mp4\nv05\n')
    done = write_lists(folder, tmp_path / 'lists', num_val=3, gt_folder=gt, exclude=[tmp_path / 'bad.txt'])
    assert len(done.val) == 3
    assert set(done.train + done.val) == {f'v{number:02d}' for number in range(13)} - {'v03', 'v04', 'v05'}
    assert f'v15: no annotations in {gt}' in done.skipped and 'v03: excluded' in done.skipped


@pytest.mark.parametrize(('options', 'message'), [
    (dict(val_fraction=0.0), 'val_fraction=0.0: a share between 0 and 1'),
    (dict(val_fraction=1.5), r'val_fraction=1.5'),
    (dict(num_val=21), 'num_val=21: of 21 videos, 1 to 20'),
    (dict(num_val=0), 'num_val=0'),
])
def test_bad_shares(options, message, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_lists(folder, tmp_path / 'lists', **options)
    assert not (tmp_path / 'lists').exists()


def test_too_few_videos(tmp_path):
    (tmp_path / 'videos').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no videos'):
        write_lists(tmp_path / 'videos', tmp_path)
    (tmp_path / 'videos' / 'a.mp4').touch()
    with pytest.raises(ValueError, match='1 videos cannot be divided'):
        write_lists(tmp_path / 'videos', tmp_path)
    with pytest.raises(FileNotFoundError, match=r'gone does not exist'):
        write_lists(tmp_path / 'gone', tmp_path)
    with pytest.raises(FileNotFoundError, match=r'folder of annotations .*gone does not exist'):
        write_lists(tmp_path / 'videos', tmp_path, gt_folder=tmp_path / 'gone')


def test_command(folder, tmp_path, capsys):
    assert cli.main(['video-lists', str(folder), str(tmp_path / 'lists'), '--num-val', '2', '--seed', '5']) == 0
    assert 'train.txt: 19 videos' in capsys.readouterr().out


def test_lists_are_what_data_sets_read(tmp_path):
    root = Path(os.environ.get('MASKFORGE_TEST_DATA', 'no such folder')) / 'davis'
    if not root.is_dir():
        pytest.skip('MASKFORGE_TEST_DATA has no davis')
    done = write_lists(root / 'JPEGImages', tmp_path, num_val=1, gt_folder=root / 'Annotations')
    source = PNGRawDataset(str(root / 'JPEGImages'), str(root / 'Annotations'), str(tmp_path / 'train.txt'))
    assert sorted(source.names) == done.train and len(done.train) == 2
