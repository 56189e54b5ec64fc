"""Scenes whose colours say their class: image, masks and map stay one through whole recipes."""
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskforge.datasets.transforms import (
    Compose,
    SegmentationTestTransform,
    SegmentationTrainTransform,
)
from maskforge.datasets.transforms.segmentation_augmentation import jittered_sides
from maskforge.export.preprocessing import find_resize
from maskforge.formats.panoptic_png import write_panoptic_png, write_png
from maskforge.structures import seeded_sample
from maskforge.structures.rle import encode

HEIGHT, WIDTH = 72, 96
#: BGR of six segments; the first two are one class of stuff and one of things
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 255, 255]], np.uint8)
LABELS = np.array([0, 1, 2, 3, 1, 4])
CROWD = 5


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    """Six segments in blobs of eight pixels; the record of a panoptic data set, with a semantic map too."""
    root = tmp_path_factory.mktemp('scene')
    blobs = np.random.default_rng(3).integers(0, len(COLOURS), (3, 4))
    owners = cv2.resize(blobs.astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    write_png(COLOURS[owners], root / 'a.png')
    write_panoptic_png(owners.astype(np.int32) + 1, root / 'p.png')
    write_png((LABELS[owners] + 1).astype(np.uint8), root / 's.png')
    instances = [dict(segment_id=k + 1, bbox_label=int(label), ignore_flag=int(k == CROWD))
                 for k, label in enumerate(LABELS) if (owners == k).any()]
    return dict(img_path=str(root / 'a.png'), height=HEIGHT, width=WIDTH, img_id=1, panoptic_path=str(root / 'p.png'),
                seg_map_path=str(root / 's.png'), instances=instances, num_classes=5)


PANOPTIC = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations', with_seg=True)]
SEMANTIC = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=False, with_label=False,
                                                 with_seg=True, reduce_zero_label=True)]
LSJ = [dict(type='RandomFlip', prob=0.5), dict(type='RandomResize', scale=(64, 64), ratio_range=(0.1, 2.0),
                                               keep_ratio=True),
       dict(type='RandomCrop', crop_size=(64, 64), recompute_bbox=True, allow_negative_crop=True),
       dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True, keep_empty=False),
       dict(type='Pad', size=(64, 64), pad_val=dict(img=128, seg=255))]


def scenes(settings: dict) -> list[dict]:
    return [dict(type='SegmentationTrainTransform', train_crop_size=(48, 60), train_max_size=200, colour=False,
                 **settings)]


def run(steps: list, record: dict, seed: int) -> dict | None:
    with seeded_sample(seed):
        return Compose([*steps, dict(type='PackDetInputs', dense_masks=True)])(dict(record))


def inner(bitmap: np.ndarray, size: int = 3) -> np.ndarray:
    """The pixels whose neighbours are inside too; beyond the border nothing is."""
    return cv2.erode(bitmap.astype(np.uint8), np.ones((size, size)), borderType=cv2.BORDER_CONSTANT,
                     borderValue=0).astype(bool)


def check_truth(packed: dict, *, crowd: bool) -> None:
    """Wherever a pixel has the pure colour of a segment, masks and map say its class, and nothing else does."""
    image, sample = packed['inputs'].permute(1, 2, 0).numpy(), packed['data_samples']
    masks, labels = sample.gt_instances.masks.to_tensor().numpy(), sample.gt_instances.labels.numpy()
    seg_map = sample.gt_sem_seg.sem_seg[0].numpy()
    assert masks.shape[1:] == image.shape[:2] == seg_map.shape
    assert masks.any((1, 2)).all() and (masks.sum(0) <= 1).all() and len(masks) == len(labels)
    drawn = np.full(seg_map.shape, 255)
    for mask, label in zip(masks, labels):
        drawn[mask] = label
    np.testing.assert_array_equal(drawn, seg_map)
    # a pixel at the edge of two segments mixes their colours: look at those whose neighbours are the same
    expected = np.where(crowd & (np.arange(len(LABELS)) == CROWD), 255, LABELS)
    for colour, label in zip([*COLOURS, (128, 128, 128)], [*expected, 255]):
        pure = inner((image == colour).all(-1))
        assert (seg_map[pure] == label).all()


@pytest.mark.parametrize('steps, crowd', [
    ([*PANOPTIC, *LSJ], True), ([*PANOPTIC, *scenes(dict(train_min_size=[36, 48, 90]))], True),
    ([*PANOPTIC, *scenes(dict(train_min_size=64, resize_backend='cv2', target_size=(80, 50)))], True),
    ([*SEMANTIC, *scenes(dict(train_min_size=64)), dict(type='SemSegToInstances')], False),
    ([*SEMANTIC, LSJ[0], *LSJ[1:3], LSJ[4], dict(type='SemSegToInstances')], False)])
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_truth_stays_in_step(scene, steps, crowd, seed):
    packed = run(steps, scene, seed)
    if packed is not None:  # a crop without an instance: another image's turn
        check_truth(packed, crowd=crowd)


def test_every_size_of_the_recipe(scene):
    assert jittered_sides(640) == [*range(320, 1281, 64)]
    train = SegmentationTrainTransform(40, train_crop_size=(24, 60), colour=False, resize_backend='cv2',
                                       keep_empty=True)
    seen = set()
    for seed in range(40):
        with seeded_sample(seed):
            results = train(Compose(PANOPTIC)(dict(scene)))
        assert results['img_shape'] == results['gt_seg_map'].shape == (32, 64)
        seen.add(round(results['scale_factor'][1] * HEIGHT))
    assert seen == {20, 84}


@pytest.mark.parametrize('settings, expected', [
    (dict(train_min_size=[30]), (15, 79)), (dict(train_min_size=[30, 33]), (30, 33)), (dict(train_min_size=[]), (24,)),
    (dict(train_min_size=[300], train_max_size=48), (36, ))])
def test_sides(scene, settings, expected):
    train = SegmentationTrainTransform(train_crop_size=(24, 60), keep_empty=True, **settings)
    seen = set()
    for seed in range(30):
        with seeded_sample(seed):
            seen.add(round(train(Compose(PANOPTIC)(dict(scene)))['scale_factor'][1] * HEIGHT))
    assert seen == set(expected)


def test_flip_and_colour(scene):
    def image(seed, **settings):
        train = SegmentationTrainTransform([HEIGHT, HEIGHT], train_crop_size=(HEIGHT, WIDTH), **settings)
        with seeded_sample(seed):
            return train(Compose(PANOPTIC)(dict(scene)))['img'][:HEIGHT, :WIDTH]
    plain = cv2.imread(scene['img_path'])
    assert (image(0, colour=False, horizontal_flip_prob=0.) == plain).all()
    assert (image(0, colour=False, horizontal_flip_prob=1.) == plain[:, ::-1]).all()
    assert len({image(seed, horizontal_flip_prob=0.).tobytes() for seed in range(20)}) > 10


def test_evaluation(scene):
    def shape(*args, **settings):
        return SegmentationTestTransform(*args, **settings)(Compose(PANOPTIC)(dict(scene)))['img_shape']
    assert shape(36) == (36, 48) and shape(100, test_max_size=64) == (48, 64)
    assert shape(40, target_size=(50, 20)) == (40, 100)
    for given_sizes, scale in ((dict(test_min_size=40, test_max_size=90), (90, 40)),
                            (dict(test_min_size=40, target_size=(50, 20)), (100, 40))):
        rule = find_resize([dict(type='SegmentationTestTransform', **given_sizes)])
        assert rule['scale'] == scale


def test_a_crop_without_instances_is_given_up_unless_told(scene):
    empty = {**scene, 'instances': [dict(item, ignore_flag=1) for item in scene['instances']]}
    lost = [run([*PANOPTIC, *LSJ[:2], dict(type='RandomCrop', crop_size=(4, 4))], scene, seed) for seed in range(20)]
    assert all(packed is None or len(packed['data_samples'].gt_instances)
               or len(packed['data_samples'].ignored_instances) for packed in lost)
    packed = run([*PANOPTIC, *LSJ], empty, 0)
    assert len(packed['data_samples'].gt_instances) == 0
    assert (packed['data_samples'].gt_sem_seg.sem_seg == 255).all()


@pytest.fixture(scope='module')
def overlapping(tmp_path_factory):
    """Objects painted one over the other: a polygon each, and an RLE; none loses what is painted over it."""
    path = tmp_path_factory.mktemp('objects') / 'a.png'
    image, instances = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
    for k, (x0, y0, x1, y1) in enumerate([(4, 4, 60, 40), (30, 20, 90, 68), (10, 50, 50, 70)]):
        image[y0:y1, x0:x1] = COLOURS[k]
        bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
        bitmap[y0:y1, x0:x1] = 1
        instances.append(dict(bbox=[x0, y0, x1, y1], bbox_label=k, ignore_flag=0,
                              mask=encode(bitmap[None])[0] if k == 2 else [[x0, y0, x1, y0, x1, y1, x0, y1]]))
    write_png(image, path)
    return dict(img_path=str(path), height=HEIGHT, width=WIDTH, img_id=1, instances=instances)


@pytest.mark.parametrize('poly2mask', [True, False])
@pytest.mark.parametrize('steps', [LSJ, [dict(type='SegmentationTrainTransform', train_min_size=64, colour=False,
                                              train_crop_size=(48, 60), category_max_ratio=1.0)]])
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_overlapping_objects_stay_in_step(overlapping, steps, poly2mask, seed):
    packed = run([PANOPTIC[0], dict(type='LoadAnnotations', with_mask=True, poly2mask=poly2mask), *steps], overlapping,
                 seed)
    if packed is None:
        return
    image, truth = packed['inputs'].permute(1, 2, 0).numpy(), packed['data_samples'].gt_instances
    masks = dict(zip(truth.labels.tolist(), truth.masks.to_bitmaps()))
    assert all(mask.any() for mask in masks.values()) and len(masks) == len(truth)
    for k in range(3):
        pure = inner((image == COLOURS[k]).all(-1))
        assert not pure.any() or masks[k][pure].all()
        own_or_later = np.any([(image == colour).all(-1) for colour in COLOURS[k:3]], 0)
        inside = inner(masks.get(k, np.zeros(image.shape[:2], bool)), 5)
        # colours mix only where one object ends on another: in lines of a pixel or two, never in areas
        assert not inner(inside & ~own_or_later, 4).any()
