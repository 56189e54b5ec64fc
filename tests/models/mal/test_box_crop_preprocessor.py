import pytest
import torch

from maskforge.models.mal.box_crop_preprocessor import BoxCropPreprocessor, augment
from maskforge.ops import photometric
from maskforge.structures import DetDataSample

NOTHING = dict(grey=False, blur=None)


def crops(count=4):
    return torch.randint(0, 255, (count, 3, 12, 12), generator=torch.Generator().manual_seed(0)).float()


def test_every_crop_gets_its_own_changes_in_its_own_order():
    images = crops()
    jitter = dict(order=[2, 0, 3, 1], amounts=[1.2, 0.7, 0.9, 0.05], grey=False, blur=None)
    found = augment(images, [NOTHING, jitter, dict(grey=True, blur=None), dict(grey=False, blur=1.5)])
    one = images[1:2]
    for number in jitter['order']:
        change = (photometric.adjust_brightness, photometric.adjust_contrast, photometric.adjust_saturation,
                  photometric.adjust_hue)[number]
        one = change(one, torch.tensor([jitter['amounts'][number]]))
    assert found[0].equal(images[0])
    torch.testing.assert_close(found[1], one[0])
    assert found[2][0].equal(found[2][1]) and not found[3].equal(images[3])
    torch.testing.assert_close(found[3:], photometric.gaussian_blur(images[3:], torch.tensor([1.5])))


def test_student_and_teacher_in_training_one_batch_otherwise():
    preprocessor = BoxCropPreprocessor(mean=[1, 2, 3], std=[2, 4, 8])
    pixels = crops(2).byte()
    samples = [DetDataSample(metainfo=dict(photometric=dict(grey=True, blur=None))) for _ in range(2)]
    data = dict(inputs=list(pixels), data_samples=samples)
    plain = preprocessor(data)['inputs']
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([1., 2, 3], [2., 4, 8]))
    expected = (pixels.flip(1).float() - mean) / std
    torch.testing.assert_close(plain, expected)
    both = preprocessor(data, training=True)['inputs']
    torch.testing.assert_close(both['teacher'], expected)
    assert not both['student'].equal(expected)


@pytest.mark.parametrize('settings', [dict(mean=[1], std=[1]), dict(std=[1, 0, 1])])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match='need three values each, std'):
        BoxCropPreprocessor(**settings)
