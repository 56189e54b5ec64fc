"""Reading images: every kind of file becomes (H, W, 3) uint8, every defect an error that names the file."""
import cv2
import numpy as np
import pytest
from PIL import Image

from maskforge.datasets.transforms import LoadImageFromFile, LoadImageFromNDArray


def noise(*shape: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


@pytest.mark.parametrize('pixels', [noise(6, 9, 3), noise(6, 9), noise(6, 9, 4), noise(6, 9, dtype=np.uint16)])
def test_every_kind_becomes_three_bytes(tmp_path, pixels):
    cv2.imwrite(str(tmp_path / 'a.png'), pixels)
    results = LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png'), height=6, width=9))
    assert results['img'].shape == (6, 9, 3) and results['img'].dtype == np.uint8
    assert results['img_shape'] == results['ori_shape'] == (6, 9)
    if pixels.shape == (6, 9, 3):
        assert (results['img'] == pixels).all()


def test_float_and_ignored_failures(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), noise(6, 9, 3))
    assert LoadImageFromFile(to_float32=True)(dict(img_path=str(tmp_path / 'a.png')))['img'].dtype == np.float32
    assert LoadImageFromFile(ignore_empty=True)(dict(img_path=str(tmp_path / 'b.png'))) is None


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('share', [0.3, 0.9])
def test_cut_file(tmp_path, suffix, share):
    whole = cv2.imencode(suffix, noise(64, 64, 3))[1].tobytes()
    path = tmp_path / f'cut{suffix}'
    path.write_bytes(whole[:int(len(whole) * share)])
    with pytest.raises(ValueError, match=f'cut{suffix} is not a whole image'):
        LoadImageFromFile()(dict(img_path=str(path)))
    path.write_bytes(whole + b'a maker wrote more here')
    assert LoadImageFromFile()(dict(img_path=str(path)))['img'].shape == (64, 64, 3)


@pytest.mark.parametrize('content, message', [(b'', '0 bytes'), (b'GIF nonsense', '12 bytes')])
def test_no_image(tmp_path, content, message):
    (tmp_path / 'a.jpg').write_bytes(content)
    with pytest.raises(ValueError, match=rf'a\.jpg cannot be decoded.*{message}'):
        LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.jpg')))


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r'nowhere/a\.jpg does not exist; check data_root'):
        LoadImageFromFile()(dict(img_path='nowhere/a.jpg'))


def test_size_unlike_the_record(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), noise(6, 9, 3))
    with pytest.raises(ValueError, match=r'a\.png has 9 x 6 pixels .*its record says 11 x 10'):
        LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png'), height=10, width=11))


def test_exif_orientation(tmp_path):
    image = Image.fromarray(noise(6, 9, 3))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / 'a.jpg', exif=exif)
    record = dict(img_path=str(tmp_path / 'a.jpg'))
    assert LoadImageFromFile()(dict(record))['img'].shape == (9, 6, 3)
    with pytest.raises(ValueError, match='color_ignore_orientation'):
        LoadImageFromFile()(dict(record, height=6, width=9))
    unturned = LoadImageFromFile(color_type='color_ignore_orientation')
    assert unturned(dict(record, height=6, width=9))['img'].shape == (6, 9, 3)


def test_array():
    results = LoadImageFromNDArray()(dict(img=noise(6, 9, 3)))
    assert results['ori_shape'] == (6, 9) and results['img_path'] is None
    with pytest.raises(ValueError, match=r'\(H, W, 3\), got \(6, 9\)'):
        LoadImageFromNDArray()(dict(img=noise(6, 9)))
