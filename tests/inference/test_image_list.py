"""What may be handed to the Inferencer."""
import numpy as np
import pytest

from maskforge.inference import list_images

ARRAY = np.zeros((4, 5, 3), np.uint8)


def test_folder_pattern_path_array_and_list(photos):
    names = ['a/0.png', 'a/1.png', 'a/2.png', 'b/3.png', 'b/4.png', 'b/5.png']
    assert [image.name for image in list_images(photos)] == names
    assert [image.name for image in list_images(str(photos / 'b' / '*.png'))] == ['3.png', '4.png', '5.png']
    assert [image.name for image in list_images(photos / 'a' / '1.png')] == ['1.png']
    mixed = list_images([photos / 'a' / '2.png', ARRAY, str(photos / 'b')])
    assert [image.name for image in mixed] == ['2.png', 'image_000002', '3.png', '4.png', '5.png']
    assert mixed[1].drawn_name == 'image_000002.jpg' and mixed[0].drawn_name == '2.png'


def test_same_names_are_told_apart(photos):
    twice = list_images([photos / 'a' / '1.png', photos / 'a' / '1.png'])
    assert [image.name for image in twice] == ['000001_1.png', '000002_1.png']


def test_grey_arrays_become_colour():
    assert list_images(np.zeros((4, 5), np.uint8))[0].read().shape == (4, 5, 3)


@pytest.mark.parametrize('inputs, error, message', [
    ('nowhere.jpg', FileNotFoundError, "there is no file or folder 'nowhere.jpg'"),
    ('nowhere/*.jpg', FileNotFoundError, r"no file matches 'nowhere/\*.jpg'"),
    (np.zeros((3, 4, 5), np.uint8), ValueError, r'uint8 \(H, W, 3\) in BGR order'),
    (ARRAY.astype(np.float32), ValueError, 'got float32'),
    ([3], ValueError, r'inputs\[0\] must be a path or an array, got int'),
    (3, ValueError, 'inputs must be paths, arrays'),
])
def test_what_is_refused(inputs, error, message):
    with pytest.raises(error, match=message):
        list_images(inputs)


def test_empty_folder_and_broken_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='has no images'):
        list_images(tmp_path)
    (tmp_path / 'x.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match=r"x.jpg' cannot be read as an image"):
        list_images(tmp_path / 'x.jpg')[0].read()
