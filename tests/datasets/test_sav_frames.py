"""Video files to folders of frames: processes, shards, Slurm, broken videos, a second run."""
import numpy as np
import pytest

from maskforge.cli import main as cli
from maskforge.datasets.converters import sav_frames
from maskforge.formats.video_writer import VideoWriter


def write(path, count=6):
    with VideoWriter(path, codec='mp4v') as video:
        for number in range(count):
            video.add(np.full((16, 24, 3), 20 * number, np.uint8))


@pytest.fixture
def videos(tmp_path):
    """Five videos in SA-V's sub-folders, the third broken."""
    root = tmp_path / 'videos'
    for number in range(5):
        write(root / f'sav_00{number % 2}' / f'v{number}.mp4', count=6 + number)
    (root / 'sav_000' / 'v2.mp4').write_bytes(b'broken')
    (root / 'notes.txt').touch()
    return root


def found(folder):
    return {path.name: sorted(frame.name for frame in path.glob('*.jpg')) for path in sorted(folder.iterdir())}


def test_a_broken_video_is_named_and_others_go_on(videos, tmp_path):
    done = sav_frames.convert(videos, tmp_path / 'out', num_workers=1)
    assert found(tmp_path / 'out') == {f'v{number}': ['00000.jpg', '00004.jpg', '00008.jpg'][:2 + (number > 2)]
                                       for number in (0, 1, 3, 4)}
    assert (done.videos, done.frames, done.present) == (4, 10, 0)
    assert [line for line in done.skipped if 'sav_000/v2.mp4 is no video that OpenCV can read' in line] == done.skipped
    assert str(done) == f'{tmp_path / "out"}: 10 frames of 4 videos; 1 videos left out'


def test_a_second_run_does_what_is_left(videos, tmp_path):
    sav_frames.convert(videos, tmp_path / 'out', num_workers=1)
    write(videos / 'sav_000' / 'v2.mp4')
    done = sav_frames.convert(videos, tmp_path / 'out', num_workers=1)
    assert (done.videos, done.frames, done.present, done.skipped) == (1, 2, 4, [])
    other = sav_frames.convert(videos, tmp_path / 'out', sample_rate=2, num_workers=1)
    assert other.videos == 0 and len(other.skipped) == 5
    assert 'out/v0 was made with every=4 (now 2); remove it' in other.skipped[0]


def test_several_processes_equal_one(videos, tmp_path):
    one = sav_frames.convert(videos, tmp_path / 'one', num_workers=1, sample_rate=3, quality=80)
    two = sav_frames.convert(videos, tmp_path / 'two', num_workers=2, sample_rate=3, quality=80)
    assert (one.videos, one.frames, one.skipped) == (two.videos, two.frames, two.skipped)
    for path in (tmp_path / 'one').rglob('*.jpg'):
        assert path.read_bytes() == (tmp_path / 'two' / path.relative_to(tmp_path / 'one')).read_bytes()


@pytest.mark.parametrize('slurm', [True, False])
def test_shards(videos, tmp_path, slurm, monkeypatch):
    names, shards = [], 2
    for shard in range(shards):
        options = dict(num_shards=shards, shard=shard)
        if slurm:
            monkeypatch.setenv('SLURM_PROCID', str(shard))
            monkeypatch.setenv('SLURM_NTASKS', str(shards))
            options = {}
        done = sav_frames.convert(videos, tmp_path / str(shard), num_workers=1, **options)
        assert f'(shard {shard} of 2{" of Slurm" if slurm else ""})' in str(done)
        names += found(tmp_path / str(shard))
    assert sorted(names) == ['v0', 'v1', 'v3', 'v4']
    # the flag wins over Slurm's variables
    assert sav_frames.convert(videos, tmp_path / 'all', num_workers=1, num_shards=1).videos == 4


def test_one_file(videos, tmp_path):
    assert sav_frames.convert(videos / 'sav_001' / 'v3.mp4', tmp_path / 'out').frames == 3


def test_command(videos, tmp_path, capsys):
    assert cli.main(['convert', 'sav_frames', str(videos), str(tmp_path / 'out'), '--sample-rate', '5',
                     '--num-workers', '1']) == 0
    printed = capsys.readouterr()
    assert f'{tmp_path / "out"}: 8 frames of 4 videos' in printed.out
    assert 'left out: ' in printed.err and 'v2.mp4' in printed.err
    assert cli.main(['convert', 'sav_frames', str(tmp_path / 'gone'), str(tmp_path / 'out')]) == 2
    assert 'gone does not exist' in capsys.readouterr().err


@pytest.mark.parametrize(('options', 'message'), [
    (dict(sample_rate=0), r'sample_rate=0: allowed are whole numbers from 1\.'),
    (dict(quality=101), 'quality=101: allowed are whole numbers from 1 to 100'),
    (dict(num_workers=0), 'num_workers=0'),
    (dict(num_shards=2, shard=2), 'shard=2 of num_shards=2: shards count from 0'),
    (dict(num_shards=0), 'num_shards=0'),
    (dict(shard=1), 'shard=1 of num_shards=1'),
])
def test_bad_settings(options, message, videos, tmp_path):
    with pytest.raises(ValueError, match=message):
        sav_frames.convert(videos, tmp_path / 'out', **options)


def test_bad_sources(videos, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'empty holds no videos \(\.mp4'):
        sav_frames.convert(tmp_path / 'empty', tmp_path / 'out')
    write(videos / 'v1.mp4')
    with pytest.raises(ValueError, match=r'v1.mp4 and .*v1.mp4 have the same name'):
        sav_frames.convert(videos, tmp_path / 'out')
