"""Object ids in PNG files."""
import cv2
import numpy as np
import pytest
from PIL import Image

from maskforge.formats.palette_png import davis_palette, read_id_png, read_palette, write_palette_png


def test_palette_is_that_of_pascal_voc():
    palette = davis_palette()
    assert palette[:8].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128],
                                    [0, 128, 128], [128, 128, 128]]
    assert palette[8].tolist() == [64, 0, 0] and palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


def test_round_trip(tmp_path):
    ids = np.random.default_rng(0).integers(0, 256, (20, 30))
    write_palette_png(ids, tmp_path / 'a' / 'b.png')
    found = read_id_png(tmp_path / 'a' / 'b.png')
    assert found.dtype == np.uint8 and (found == ids).all()
    assert (read_palette(tmp_path / 'a' / 'b.png') == davis_palette()).all()
    seen = cv2.imread(str(tmp_path / 'a' / 'b.png'))[..., ::-1]
    assert (seen == davis_palette()[ids]).all()
    colours = np.zeros((256, 3), np.uint8) + np.arange(256, dtype=np.uint8)[:, None]
    write_palette_png(ids, tmp_path / 'c.png', palette=colours)
    assert (read_palette(tmp_path / 'c.png') == colours).all()


@pytest.mark.parametrize(('mode', 'values'), [('L', [0, 3, 255]), ('1', [0, 1, 1]), ('I;16', [0, 3, 4000])])
def test_one_channel(tmp_path, mode, values):
    kind = {'L': np.uint8, '1': bool, 'I;16': np.uint16}[mode]
    Image.fromarray(np.array([values], kind)).save(tmp_path / 'a.png')
    found = read_id_png(tmp_path / 'a.png')
    assert found.tolist() == [values] and read_palette(tmp_path / 'a.png') is None
    assert found.dtype == (np.int32 if max(values) > 255 else np.uint8)


def test_small_palettes(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([0, 0, 0, 9, 8, 7])
    image.save(tmp_path / 'a.png', bits=1)
    assert read_id_png(tmp_path / 'a.png').tolist() == [[0, 1]]
    assert read_palette(tmp_path / 'a.png')[1].tolist() == [9, 8, 7]


def test_what_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(ValueError, match=r'a.png has the colours of mode RGB instead of object ids'):
        read_id_png(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'b.png is not a whole, readable PNG'):
        read_id_png(tmp_path / 'b.png')
    with pytest.raises(FileNotFoundError, match=r'did you mean'):
        read_id_png(tmp_path / 'bb.png')
    for ids in (np.full((2, 2), 256), np.full((2, 2), -1), np.zeros((1, 2, 2))):
        with pytest.raises(ValueError, match='a palette PNG holds'):
            write_palette_png(ids, tmp_path / 'c.png')
    assert not (tmp_path / 'c.png').exists()
