import pytest
import torch
from tiny_clips import clip_sample, drawn_masks, tiny_batch

from maskforge.models.sam2.clip_batch import ClipObjects, frame_features
from maskforge.models.sam2.clip_preprocessor import ClipPreprocessor
from maskforge.models.sam2.structures import ImageFeatures


def test_objects_of_all_clips_in_a_row():
    batch = tiny_batch(3, (2, 1))
    objects = ClipObjects.of(batch['data_samples'], torch.zeros(2, 3, 3, 64, 64))
    assert objects.clip.tolist() == [0, 0, 1] and objects.masks.shape == (3, 3, 1, 64, 64)
    assert torch.equal(objects.masks[:, 2, 0], batch['data_samples'][1].gt_masks[:, 0])


class Encoder:
    """Features that say which image they are of."""

    def encode_images(self, images):
        return ImageFeatures(*(images[:, :1, :1, :1],) * 3)


@pytest.mark.parametrize('per_frame', [True, False])
def test_features_of_an_objects_own_frames(per_frame):
    clips = torch.arange(6.).view(2, 3, 1, 1, 1).expand(-1, -1, 3, 4, 4)
    features, _ = frame_features(Encoder(), clips, per_frame=per_frame)
    assert features(1, torch.tensor([0, 1, 1])).s16.flatten().tolist() == [1., 4., 4.]


@pytest.mark.parametrize(('masks', 'message'), [
    (drawn_masks(2, 1), r"clip 'clip' of 'drawn': gt_masks is \(T, O, H, W\) = \(2, 1, 64, 64\); .* \(3, 64, 64\)"),
    (drawn_masks(3, 1, side=32), r'= \(3, 1, 32, 32\)'),
    (drawn_masks(3, 1)[:, :0], r'O at least 1'),
])
def test_masks_that_do_not_fit(masks, message):
    with pytest.raises(ValueError, match=message):
        ClipObjects.of([clip_sample(masks)], torch.zeros(1, 3, 3, 64, 64))


def test_a_sample_without_masks():
    sample = clip_sample(drawn_masks(1, 1))
    del sample.gt_masks
    with pytest.raises(ValueError, match="clip 'clip' of 'drawn' has no gt_masks"):
        ClipObjects.of([sample], torch.zeros(1, 1, 3, 64, 64))


def test_normalisation():
    clip = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, -1, 4, 4)
    settings = dict(mean=(1., 2., 3.), std=(1., 2., 4.))
    found = ClipPreprocessor(**settings)(dict(inputs=[clip]), True)['inputs']
    assert found.shape == (1, 2, 3, 4, 4) and found[0, 1, :, 0, 0].tolist() == [29., 9., 1.75]
    rgb = ClipPreprocessor(**settings, bgr_to_rgb=False)(dict(inputs=[clip]), True)['inputs']
    assert rgb[0, 0, :, 0, 0].tolist() == [9., 9., 6.75]


def test_images_and_videos_stay_as_they_are():
    image, video = torch.zeros(3, 5, 6, dtype=torch.uint8), object()
    for given in (image, video):
        assert ClipPreprocessor()(dict(inputs=[given], data_samples=[None]))['inputs'][0] is given


def test_clips_of_different_lengths():
    with pytest.raises(ValueError, match='they need one length and one size'):
        ClipPreprocessor()(dict(inputs=[torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4)]), True)


@pytest.mark.parametrize('values', [dict(mean=(1., 2.)), dict(std=(1., 1., 0.))])
def test_bad_values(values):
    with pytest.raises(ValueError, match='need three values each, std positive'):
        ClipPreprocessor(**values)
