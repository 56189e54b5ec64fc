"""Masks drawn on the frames of a video: MP4 and pictures, both layouts."""
import cv2
import numpy as np
import pytest

from maskforge.cli import main as cli
from maskforge.formats.video_file import read_frames
from maskforge.formats.vos_results import write_video_masks
from maskforge.visualization import distinct_color

NAMES = ['00000', '00001', '00002']


@pytest.fixture
def video(tmp_path):
    """Three grey frames; object 5 on the right in frames 0 and 2, no file for frame 1."""
    (tmp_path / 'frames').mkdir()
    for name in NAMES:
        cv2.imwrite(str(tmp_path / 'frames' / f'{name}.png'), np.full((40, 60, 3), 128, np.uint8))
    mask = np.zeros((40, 60), bool)
    mask[:, 30:] = True
    for layout in ('palette', 'objects'):
        write_video_masks(tmp_path / layout, {5: [mask] * 2}, NAMES[::2], size=mask.shape, layout=layout)
    return tmp_path


def draw(video, layout, output, *flags):
    return cli.main(['draw-video', str(video / 'frames'), str(video / layout), str(video / output), '--alpha', '1',
                     '--no-contours', '--no-show-ids', *flags])


@pytest.mark.parametrize('layout', ['palette', 'objects'])
def test_pictures(layout, video, capsys):
    assert draw(video, layout, 'drawn') == 0
    assert 'drawn written' in capsys.readouterr().out
    for name in NAMES:
        picture = cv2.imread(str(video / 'drawn' / f'{name}.jpg'))
        color = [128] * 3 if name == '00001' else distinct_color(5)[::-1]
        assert picture[20, 50].tolist() == pytest.approx(color, abs=6) and picture[20, 10].tolist() == [128] * 3


@pytest.mark.parametrize(('flags', 'fps', 'size'), [
    ([], 24, (40, 60)), (['--fps', '5', '--min-side', '80'], 5, (80, 120))])
def test_mp4(flags, fps, size, video):
    assert draw(video, 'palette', 'drawn.mp4', '--codec', 'mp4v', '--palette', 'davis', *flags) == 0
    frames = [image for _, image in read_frames(video / 'drawn.mp4')]
    assert len(frames) == 3 and frames[0].shape == (*size, 3)
    assert cv2.VideoCapture(str(video / 'drawn.mp4')).get(cv2.CAP_PROP_FPS) == pytest.approx(fps)
    right = frames[0][size[0] // 2, size[1] - 10]
    assert right.tolist() == pytest.approx([128, 0, 128], abs=25)  # colour 5 of DAVIS


def test_masks_of_another_video(video, capsys):
    (video / 'frames' / '00000.png').rename(video / 'frames' / 'x.png')
    for name in NAMES[1:]:
        (video / 'frames' / f'{name}.png').unlink()
    assert draw(video, 'palette', 'drawn') == 2
    assert '(such as 00000.png) belongs to a frame of the video (such as x)' in capsys.readouterr().err
