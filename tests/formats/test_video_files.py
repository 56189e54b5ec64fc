"""MP4 written and read back; folders of frames."""
import importlib.util
import json

import cv2
import numpy as np
import pytest

from maskforge.formats.video_file import MARKER, extract_frames, read_frames
from maskforge.formats.video_writer import VideoWriter

HAS_AV = importlib.util.find_spec('av') is not None


def write(path, count=9, size=(48, 64), **options):
    """Grey frames that become brighter by 20 a frame."""
    with VideoWriter(path, fps=10, **options) as video:
        for number in range(count):
            video.add(np.full((*size, 3), 20 + 20 * number, np.uint8))
    return path


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / 'clip.mp4', codec='mp4v')


@pytest.mark.parametrize('codec', ['mp4v', pytest.param('h264', marks=pytest.mark.skipif(not HAS_AV, reason='no av'))])
def test_written_and_read_back(codec, tmp_path):
    path = write(tmp_path / 'new' / 'a.mp4', size=(47, 63), codec=codec)
    found = list(read_frames(path))
    assert [number for number, _ in found] == list(range(9))
    assert found[0][1].shape == (48, 64, 3)  # even sides
    assert [frame.mean() for _, frame in found] == pytest.approx([20 + 20 * number for number in range(9)], abs=4)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little').decode()
    assert fourcc in {'mp4v': ('mp4v', 'FMP4'), 'h264': ('avc1', 'h264')}[codec]
    assert [path.name for path in path.parent.iterdir()] == ['a.mp4']


@pytest.mark.skipif(not HAS_AV, reason='no av')
def test_quality_of_h264(tmp_path):
    rng = np.random.default_rng(0)
    for crf in (10, 40):
        with VideoWriter(tmp_path / f'{crf}.mp4', codec='h264', crf=crf) as video:
            for _ in range(5):
                video.add(rng.integers(0, 255, (64, 64, 3), np.uint8))
    assert (tmp_path / '10.mp4').stat().st_size > 2 * (tmp_path / '40.mp4').stat().st_size


def test_without_av(tmp_path, monkeypatch, engine_log):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    path = write(tmp_path / 'a.mp4')
    assert any('browsers do not play; pip install maskforge[video]' in line for line in engine_log)
    assert len(list(read_frames(path))) == 9
    with pytest.raises(ImportError, match=r"codec='h264' needs PyAV: pip install maskforge\[video\]"):
        VideoWriter(tmp_path / 'b.mp4', codec='h264')


def test_a_broken_off_video_leaves_nothing(tmp_path):
    def draw():
        with VideoWriter(tmp_path / 'a.mp4', codec='mp4v') as video:
            video.add(np.zeros((8, 8, 3), np.uint8))
            video.add(np.zeros((8, 10, 3), np.uint8))
    with pytest.raises(ValueError, match='this frame has 10 x 8 pixels, the first had 8 x 8'):
        draw()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(('name', 'options', 'frame', 'message'), [
    ('a.avi', {}, None, r'a.avi: videos are written as MP4'),
    ('a.mp4', dict(codec='vp9'), None, "codec='vp9': allowed are auto, h264, mp4v"),
    ('a.mp4', dict(fps=0), None, 'fps=0: frames per second must be positive'),
    ('a.mp4', {}, None, 'there are no frames to write'),
    ('a.mp4', {}, np.zeros((8, 8), np.uint8), r'must be uint8 of shape \(H, W, 3\), got uint8 \(8, 8\)'),
])
def test_what_is_no_video(name, options, frame, message, tmp_path):
    def draw():
        with VideoWriter(tmp_path / name, **{'codec': 'mp4v', **options}) as video:
            if frame is not None:
                video.add(frame)
    with pytest.raises(ValueError, match=message):
        draw()


def test_every_fourth_frame(clip, tmp_path):
    assert extract_frames(clip, tmp_path / 'frames', every=4) == (3, False)
    files = sorted((tmp_path / 'frames').glob('*.jpg'))
    assert [path.name for path in files] == ['00000.jpg', '00004.jpg', '00008.jpg']
    assert [cv2.imread(str(path)).mean() for path in files] == pytest.approx([20, 100, 180], abs=4)
    assert [number for number, _ in read_frames(clip, every=4)] == [0, 4, 8]


def test_quality_of_frames(tmp_path, clip):
    sizes = []
    for quality in (10, 100):
        extract_frames(clip, tmp_path / str(quality), quality=quality)
        sizes.append((tmp_path / str(quality) / '00008.jpg').stat().st_size)
    assert sizes[0] < sizes[1]


def test_finished_folders_stay(clip, tmp_path):
    folder = tmp_path / 'frames'
    extract_frames(clip, folder, every=2)
    before = (folder / '00002.jpg').stat().st_mtime_ns
    assert extract_frames(clip, folder, every=2) == (5, True)
    assert (folder / '00002.jpg').stat().st_mtime_ns == before


def test_remains_of_a_killed_run_are_replaced(clip, tmp_path):
    (tmp_path / '.frames.partial').mkdir()
    (tmp_path / '.frames.partial' / '00001.jpg').touch()
    assert extract_frames(clip, tmp_path / 'frames', every=2) == (5, False)
    assert not (tmp_path / '.frames.partial').exists()
    assert not (tmp_path / 'frames' / '00001.jpg').exists()


def _made_by_hand(folder):
    (folder / MARKER).unlink()


def _of_another_file(folder):
    facts = json.loads((folder / MARKER).read_text())
    (folder / MARKER).write_text(json.dumps({**facts, 'bytes': 1}))


@pytest.mark.parametrize(('change', 'every', 'message'), [
    (_made_by_hand, 2, 'frames exists, but was not made by this command'),
    (_of_another_file, 2, r'frames was made with bytes=1 \(now'),
    (None, 3, r'frames was made with every=2 \(now 3\); remove it, or write elsewhere'),
])
def test_folders_of_something_else(change, every, message, clip, tmp_path):
    folder = tmp_path / 'frames'
    extract_frames(clip, folder, every=2)
    if change:
        change(folder)
    with pytest.raises(ValueError, match=message):
        extract_frames(clip, folder, every=every)


def test_unreadable_videos_leave_nothing(clip, tmp_path, monkeypatch):
    (tmp_path / 'text.mp4').write_text('no video')
    cut = tmp_path / 'cut.mp4'
    cut.write_bytes(clip.read_bytes()[:-400])
    for path in (tmp_path / 'text.mp4', cut):
        with pytest.raises(ValueError, match=f'{path.name} is no video that OpenCV can read'):
            extract_frames(path, tmp_path / 'frames')
    with pytest.raises(FileNotFoundError, match=r'video .*gone.mp4 does not exist'):
        extract_frames(tmp_path / 'gone.mp4', tmp_path / 'frames')
    monkeypatch.setattr(cv2, 'imwrite', lambda *args: False)
    with pytest.raises(OSError, match=r'00000.jpg cannot be written; is the disk full'):
        extract_frames(clip, tmp_path / 'frames')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['clip.mp4', 'cut.mp4', 'text.mp4']


def test_a_video_that_ends_early(clip, monkeypatch):
    class Announcing:
        def __init__(self, path):
            self.real = real(path)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def get(self, key):
            return 100.0 if key == cv2.CAP_PROP_FRAME_COUNT else self.real.get(key)

    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, 'VideoCapture', Announcing)
    with pytest.raises(ValueError, match=r'clip.mp4 ends after 9 of 100 frames; copy or download it again'):
        list(read_frames(clip))
