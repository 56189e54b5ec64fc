"""Masks of videos written in both layouts, and found again."""
import numpy as np
import pytest
from PIL import Image

from maskforge.formats import rle
from maskforge.formats.palette_png import davis_palette, read_id_png, read_palette, write_palette_png
from maskforge.formats.vos_layout import scan_masks, split_ids
from maskforge.formats.vos_results import write_frame_masks, write_video_masks

SIZE = (6, 8)


def square(x, y, side=3):
    mask = np.zeros(SIZE, bool)
    mask[y:y + side, x:x + side] = True
    return mask


def test_palette_layout(tmp_path):
    """RLE and arrays, overlapping objects (the smaller id stays), frames without objects."""
    masks = {7: [square(0, 0), None], 2: [rle.encode(square(2, 1)), None]}
    write_video_masks(tmp_path / 'cat', masks, ['00000', '00004'], size=SIZE)
    expected = np.where(square(2, 1), 2, np.where(square(0, 0), 7, 0))
    assert (read_id_png(tmp_path / 'cat' / '00000.png') == expected).all()
    assert not read_id_png(tmp_path / 'cat' / '00004.png').any()
    assert (read_palette(tmp_path / 'cat' / '00000.png') == davis_palette()).all()
    track, = scan_masks(tmp_path / 'cat')
    assert track.names == ('00000.png', '00004.png') and track.object_name is None
    assert {number: mask.sum() for number, mask in split_ids(track.read('00000.png')).items()} == {2: 9, 7: 7}


def test_own_palette(tmp_path):
    palette = np.zeros((256, 3), np.uint8)
    palette[5] = 10, 20, 30
    write_frame_masks(tmp_path, 'a', {5: square(0, 0)}, size=SIZE, palette=palette)
    with Image.open(tmp_path / 'a.png') as image:
        assert image.convert('RGB').getpixel((0, 0)) == (10, 20, 30)


def test_object_layout(tmp_path):
    """Overlaps stay, ids may be large, every frame has a file of every object."""
    masks = {0: [square(0, 0), None], 1234: [square(1, 1), square(2, 2)]}
    write_video_masks(tmp_path / 'cat', masks, ['00000', '00001'], size=SIZE, layout='objects')
    first, second = scan_masks(tmp_path / 'cat')
    assert (first.object_name, second.object_name) == ('000', '1234')
    assert (first.read('00000.png') == square(0, 0)).all() and not first.read('00001.png').any()
    assert (second.read('00001.png') == square(2, 2)).all()
    with Image.open(first.folder / '00000.png') as image:
        assert image.getcolors() == [(39, 0), (9, 255)]


@pytest.mark.parametrize(('masks', 'options', 'message'), [
    ({1: [square(0, 0)]}, {}, 'object 1 has 1 masks, the video 2 frames'),
    ({1: [square(0, 0)[:3], None]}, {}, r'frame a, object 1: the mask has the size \(3, 8\), the frame \(6, 8\)'),
    ({300: [None, None]}, {}, r"object ids from 1 to 255, got \[300\]; layout='objects' holds any id"),
    ({0: [None, None]}, {}, r'got \[0\]'),
    ({-1: [None, None]}, dict(layout='objects'), 'object id -1: ids are not negative'),
    ({1: [None, None]}, dict(layout='davis'), "layout='davis': allowed are 'palette'"),
])
def test_what_cannot_be_written(masks, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_video_masks(tmp_path, masks, ['a', 'b'], size=SIZE, **options)


def test_large_ids_split():
    assert list(split_ids(np.array([[0, 300], [2, 2]], np.int32))) == [2, 300]


@pytest.mark.parametrize(('files', 'error', 'message'), [
    ([], FileNotFoundError, 'is empty; masks are video/FRAME.png or video/OBJECT/FRAME.png'),
    (['0.png', '1/0.png'], ValueError, r'holds files \(0.png\) beside folders \(1\)'),
    (['0.png', '1.jpg', '2.jpg', '3.jpg', '4.jpg'], ValueError, '3.jpg and 1 more: masks are PNG files'),
    (['1/notes.txt'], ValueError, 'notes.txt: masks are PNG files'),
])
def test_folders_that_hold_something_else(files, error, message, tmp_path):
    (tmp_path / 'video').mkdir()
    for name in [*files, '.hidden']:
        path = tmp_path / 'video' / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.raises(error, match=message):
        scan_masks(tmp_path / 'video')


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'folder of masks .*gone does not exist'):
        scan_masks(tmp_path / 'gone')


@pytest.mark.parametrize('values', [[0, 1, 2], [1, 2], [0, 4, 5]])
def test_several_objects_in_a_file_of_one(values, tmp_path):
    (tmp_path / '000').mkdir()
    write_palette_png(np.resize(np.array(values, np.uint8), SIZE), tmp_path / '000' / 'a.png')
    with pytest.raises(ValueError, match=f'a.png has the values {values[0]}, {values[1]}.*folder of one object'):
        scan_masks(tmp_path)[0].read('a.png')
