"""Transforms of clips: one draw a clip or a frame, one warp, the semantics of SAM 2's training."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional as vision

from maskforge.datasets.transforms import clip_color
from maskforge.datasets.transforms.clip_geometry import FusedGeometry, affine_matrix
from maskforge.datasets.transforms.clip_pipeline import build_clip_pipeline
from maskforge.datasets.transforms.frame_warp import FrameWarp
from maskforge.registry import TRANSFORMS
from maskforge.structures import InstanceMasks, seeded_sample

SIZE = (48, 64)


def _smooth(seed: int, size=SIZE) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _disc(x: float, y: float, radius: float, size=SIZE) -> np.ndarray:
    rows, columns = np.mgrid[:size[0], :size[1]] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius ** 2


def _clip(length: int = 3, **changes) -> dict:
    masks = [[_disc(30 + t, 20, 10), None if t == 1 else InstanceMasks.from_bitmaps(
        _disc(40, 30 + t, 6)[None]).to_rles()[0]] for t in range(length)]
    return {**dict(frames=[_smooth(t) for t in range(length)], masks=masks, object_ids=[3, 5], video_name='clip',
                   frame_names=('0', '1', '2'), frame_ids=(0, 1, 2), img_path='folder/clip', ori_shape=SIZE,
                   source='drawn', is_image=False), **changes}


def _still(length: int = 4) -> dict:
    """A clip of one frame again and again (as separate arrays)."""
    return _clip(length, frames=[_smooth(0).copy() for _ in range(length)],
                 masks=[[_disc(30, 20, 10)] for _ in range(length)], object_ids=[1])


def _apply(transforms, clip, seed: int = 0) -> dict:
    with seeded_sample(seed):
        return build_clip_pipeline(transforms)(clip)


GEOMETRIC = [dict(type='ClipRandomFlip'), dict(type='ClipRandomAffine', degrees=25, shear=20)]
DRAWN = [*GEOMETRIC, dict(type='ClipRandomAffine', degrees=0, scale=(.7, 1.2), translate=(.1, .1)),
         dict(type='ClipResize', sizes=[24, 48, 32], square=True), dict(type='ClipColorJitter', brightness=.5),
         dict(type='ClipColorJitter', hue=.4), dict(type='ClipRandomGrayscale', prob=.5)]


@pytest.mark.parametrize('transform', DRAWN, ids=lambda t: t['type'])
def test_one_draw_a_clip_or_one_a_frame(transform):
    def differ(consistent):
        kinds = set()
        for seed in range(12):
            done = _apply([{**transform, 'consistent': consistent}], _still(), seed)
            kinds.add(len({(frame.shape, frame.tobytes()) for frame in done['frames']}))
        return kinds
    assert differ(True) == {1} and max(differ(False)) > 1


def test_flip():
    clip = _clip()
    done = _apply([dict(type='ClipRandomFlip', prob=1)], clip)
    for before, after in zip(clip['frames'], done['frames']):
        assert (after == before[:, ::-1]).all()
    assert (done['masks'][0][0] == clip['masks'][0][0][:, ::-1]).all() and not done['masks'][1][1].any()
    assert (_apply([dict(type='ClipRandomFlip', prob=0)], clip)['frames'][0] == clip['frames'][0]).all()
    share = np.mean([_apply([dict(type='ClipRandomFlip', prob=.3)], clip, seed)['frames'][0][0, 0, 0]
                     != clip['frames'][0][0, 0, 0] for seed in range(200)])
    assert abs(share - 0.3) < 0.1


@pytest.mark.parametrize('size', [(24, 24), (20, 90), (96, 128), (48, 64)])
def test_resize_is_torchvisions(size):
    clip = _clip()
    done = _apply([dict(type='ClipResize', sizes=[size])], clip)
    planes = torch.from_numpy(clip['frames'][0]).permute(2, 0, 1)
    expected = vision.resize(planes, list(size), antialias=True).permute(1, 2, 0).numpy()
    assert np.abs(done['frames'][0].astype(int) - expected).max() <= 1
    for t, disc in ((0, _disc(30, 20, 10)), (2, _disc(32, 20, 10))):
        mask = torch.from_numpy(disc.astype(np.uint8))[None]
        assert (done['masks'][t][0] == vision.resize(mask, list(size), antialias=True)[0].bool().numpy()).all()


@given(seed=st.integers(0, 10**6), source=st.tuples(st.integers(2, 70), st.integers(2, 70)),
       size=st.tuples(st.integers(1, 90), st.integers(1, 90)))
@settings(max_examples=60, deadline=None)
def test_masks_are_resized_in_parts(seed, source, size):
    rng = np.random.default_rng(seed)
    bitmap = _disc(rng.uniform(0, source[1]), rng.uniform(0, source[0]), rng.uniform(1, 20), source)
    bitmap |= rng.random(source) < rng.choice([0, 0.01])
    whole = torch.nn.functional.interpolate(torch.from_numpy(bitmap.astype(np.float32))[None, None], size,
                                            mode='bilinear', antialias=True)[0, 0].round().bool().numpy()
    assert (FrameWarp.start(source).resize(size).mask(bitmap) == whole).all()


@pytest.mark.parametrize(('given', 'size'), [
    (dict(sizes=24), (24, 32)), (dict(sizes=24, square=True), (24, 24)), (dict(sizes=[[20, 40]]), (20, 40)),
    (dict(sizes=96, max_size=64), (48, 64)), (dict(sizes=[36, 36]), (36, 48))])
def test_sizes(given, size):
    assert _apply([dict(type='ClipResize', **given)], _clip())['frames'][0].shape[:2] == size


def test_upright_frames_keep_their_ratio():
    clip = _clip(frames=[_smooth(0, (64, 48))], masks=[[_disc(20, 30, 8, (64, 48))]], object_ids=[1])
    assert _apply([dict(type='ClipResize', sizes=24)], clip)['frames'][0].shape[:2] == (32, 24)


@pytest.mark.parametrize(('angle', 'shift', 'scale', 'shear'), [
    (20, (0, 0), 1., (0, 0)), (0, (5, -3), 1., (0, 0)), (0, (0, 0), 1.4, (0, 0)), (0, (0, 0), 1., (15, 0)),
    (-30, (4, 2), 0.8, (10, -12))])
def test_affine_is_torchvisions(angle, shift, scale, shear):
    image, mask = _smooth(1), _disc(30, 20, 10)
    warp = FrameWarp.start(SIZE).move(affine_matrix(SIZE, angle=angle, shift=shift, scale=scale, shear=shear),
                                      fill=(103, 116, 123), interpolation='bilinear')
    given = dict(angle=angle, translate=list(shift), scale=scale, shear=list(shear))
    expected = np.asarray(vision.affine(Image.fromarray(image), **given, fill=[103, 116, 123],
                                        interpolation=vision.InterpolationMode.BILINEAR)).astype(int)
    difference = np.abs(warp.image(image).astype(int) - expected)
    assert np.median(difference) <= 1 and np.mean(difference > 4) < 0.04  # Pillow does not blend the edge with the fill
    moved = np.asarray(vision.affine(Image.fromarray(mask), **given))
    shared = (warp.mask(mask) & moved).sum() / (warp.mask(mask) | moved).sum()
    assert shared > 0.96


def test_affine_settings():
    clip = _clip(masks=[[_disc(32, 24, 10)]] * 3, object_ids=[1])
    fill = dict(type='ClipRandomAffine', degrees=(30, 30), fill=(10, 20, 30))
    corner = _apply([fill], clip)['frames'][0][0, 0]
    assert corner.tolist() == [30, 20, 10]  # BGR
    shift = dict(type='ClipRandomAffine', degrees=0, translate=(0.2, 0))
    columns = {int(np.argwhere(_apply([shift], clip, seed)['masks'][0][0])[:, 1].min()) for seed in range(30)}
    assert min(columns) < 18 and max(columns) > 27 and min(columns) >= 22 - 13
    areas = [_apply([dict(type='ClipRandomAffine', degrees=0, scale=(2, 2))], clip)['masks'][0][0].sum()]
    assert 3.5 < areas[0] / _disc(32, 24, 10).sum() < 4.5
    levels = [np.unique(_apply([dict(type='ClipRandomAffine', degrees=20, interpolation=kind)], two)['frames'][0])
              for kind in ('nearest', 'bilinear') for two in [_clip(frames=[_smooth(0) // 128 * 255] * 3)]]
    assert set(levels[0]) <= {0, 255, 123, 116, 103} and len(levels[1]) > 20
    sheared = [_apply([dict(type='ClipRandomAffine', degrees=0, shear=given)], clip, 3)['masks'][0][0]
               for given in (20, (-20, 20), (0, 0, 20, 20))]
    assert (sheared[0] == sheared[1]).all() and (sheared[0] != sheared[2]).any()


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.tuples(st.integers(8, 90), st.integers(8, 90)), max_size=3))
@settings(max_examples=25, deadline=None)
def test_maps_are_composed(seed, sizes):
    """A point goes where the single maps send it one after the other."""
    rng = np.random.default_rng(seed)
    warp, point = FrameWarp.start(SIZE), np.array([*rng.uniform(0, 48, 2), 1])
    expected = point
    for size in sizes:
        expected = np.array([warp.size[1] - expected[0], expected[1], 1])
        warp = warp.mirror()
        expected = np.array([expected[0] * size[1] / warp.size[1], expected[1] * size[0] / warp.size[0], 1])
        warp = warp.resize(size)
        matrix = affine_matrix(size, angle=rng.uniform(-90, 90), shift=rng.uniform(-9, 9, 2), scale=1.2, shear=(5, 0))
        expected, warp = matrix @ expected, warp.move(matrix, fill=(0, 0, 0), interpolation='nearest')
    assert np.allclose(warp.matrix @ point, expected) and warp.size == tuple(sizes[-1] if sizes else SIZE)
    assert warp.moved == bool(sizes) and warp.mirrored == bool(len(sizes) % 2)


def test_objects_stay_in_the_first_frame(engine_log):
    far = dict(type='ClipRandomAffine', degrees=(180, 180), translate=(0., 0.), scale=(4, 4))
    clip = _clip(masks=[[_disc(5, 5, 3)], [None], [_disc(30, 20, 5)]], object_ids=[1])
    for _ in range(3):
        done = _apply([far], clip)
        assert all((after == before).all() for before, after in zip(clip['frames'], done['frames']))
    pipeline = build_clip_pipeline([far])
    for _ in range(4):
        pipeline(clip)
    assert sum('would not be seen in the first frame' in line for line in engine_log) == 4  # once each pipeline
    away = _clip(masks=[[None], [_disc(5, 5, 3)], [None]], object_ids=[1])
    assert (_apply([far], away)['frames'][0] != away['frames'][0]).any()  # it was not there before


def test_more_tentatives():
    clip = _clip(masks=[[_disc(8, 8, 4)]] * 3, object_ids=[1])

    def moved(tentatives):
        transform = dict(type='ClipRandomAffine', degrees=180, scale=(1.5, 1.5), num_tentatives=tentatives)
        return sum(bool((_apply([transform], clip, seed)['frames'][0] != clip['frames'][0]).any())
                   for seed in range(40))

    assert 0 < moved(1) < moved(8) <= 40


def test_affine_and_resize_are_one_warp(monkeypatch):
    chain = [*GEOMETRIC, dict(type='ClipResize', sizes=40, square=True)]
    pipeline = build_clip_pipeline([*chain, dict(type='ClipRandomGrayscale'), dict(type='PackClip')])
    assert [type(step).__name__ for step in pipeline.transforms] == ['FusedGeometry', 'ClipRandomGrayscale', 'PackClip']
    fused = FusedGeometry([TRANSFORMS.build(item) for item in chain])
    for seed in range(5):
        with seeded_sample(seed):
            one = fused(_clip())
        with seeded_sample(seed):
            steps = _clip()
            for item in chain:
                steps = TRANSFORMS.build(item)(steps)
        for a, b in zip(one['masks'], steps['masks']):
            assert (a[0] & b[0]).sum() / (a[0] | b[0]).sum() > 0.85
        difference = np.abs(one['frames'][0].astype(int) - steps['frames'][0])
        assert np.median(difference) <= 3


def test_shrinking_by_a_warp_does_not_alias():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    warp = FrameWarp.start((256, 256)).move(affine_matrix((256, 256), angle=1, shift=(0, 0), scale=1, shear=(0, 0)),
                                            fill=(0, 0, 0), interpolation='bilinear').resize((64, 64))
    inner = warp.image(stripes)[8:-8, 8:-8]
    assert inner.std() < 20 and abs(inner.mean() - 127) < 4


@pytest.mark.parametrize(('name', 'amount', 'tolerance'), [
    ('brightness', 1.3, 1), ('brightness', 0.6, 1), ('contrast', 1.4, 2), ('contrast', 0.5, 2),
    ('saturation', 1.5, 2), ('saturation', 0.2, 2), ('hue', 0.2, 12), ('hue', -0.35, 12)])
def test_colours_are_torchvisions(name, amount, tolerance):
    image = _smooth(2)
    expected = getattr(vision, f'adjust_{name}')(Image.fromarray(image[..., ::-1]), amount)
    changed = clip_color.CHANGES[name](image, amount)[..., ::-1]
    assert np.abs(changed.astype(int) - np.asarray(expected)).max() <= tolerance


def test_jitter_ranges_and_order():
    jitter = TRANSFORMS.build(dict(type='ClipColorJitter', brightness=.2, contrast=(.5, .6), saturation=None, hue=.1))
    orders, brightness, hue = set(), [], []
    for seed in range(300):
        with seeded_sample(seed):
            steps = jitter._draw()
        orders.add(tuple(name for name, _ in steps))
        amounts = dict(steps)
        brightness.append(amounts['brightness'])
        hue.append(amounts['hue'])
        assert 0.5 <= amounts['contrast'] <= 0.6
    assert len(orders) == 6 and 'saturation' not in amounts
    assert 0.8 <= min(brightness) < 0.82 and 1.18 < max(brightness) <= 1.2
    assert -0.1 <= min(hue) < -0.09 and 0.09 < max(hue) <= 0.1


def test_grayscale():
    clip = _clip()
    grey = _apply([dict(type='ClipRandomGrayscale', prob=1)], clip)['frames'][0]
    assert (grey == grey[..., :1]).all()
    expected = np.asarray(Image.fromarray(clip['frames'][0][..., ::-1]).convert('L'))
    assert np.abs(grey[..., 0].astype(int) - expected).max() <= 1


def test_mosaic():
    clip = _clip()
    assert _apply([dict(type='ClipMosaic', prob=0)], clip)['frames'] is clip['frames']
    cells = set()
    small = _apply([dict(type='ClipResize', sizes=[(24, 32)])], clip)
    for seed in range(20):
        done = _apply([dict(type='ClipMosaic', prob=1)], clip, seed)
        for t in range(3):
            for rows in (slice(0, 24), slice(24, 48)):
                for columns in (slice(0, 32), slice(32, 64)):
                    assert (done['frames'][t][rows, columns] == small['frames'][t]).all()
        y, x = np.argwhere(done['masks'][0][0]).mean(0) // (24, 32)
        cells.add((int(y), int(x)))
        for t in (0, 2):
            part = done['masks'][t][0][int(y) * 24:, int(x) * 32:][:24, :32]
            assert (part == small['masks'][t][0]).all() and done['masks'][t][0].sum() == part.sum()
    assert len(cells) == 4
    mirrored = [_apply([dict(type='ClipMosaic', prob=1, use_random_hflip=True)], clip, seed)['frames'][0][:24, :32]
                for seed in range(12)]
    assert {bool((cell == small['frames'][0]).all()) for cell in mirrored} == {True, False}
    wide = _apply([dict(type='ClipMosaic', prob=1, grid_h=1, grid_w=3)], clip)
    frame = wide['frames'][0]
    assert frame.shape == (48, 64, 3) and (frame[:, :21] == frame[:, 21:42]).all()


def test_pack():
    clip = _clip()
    packed = _apply([dict(type='PackClip')], clip)
    assert packed['inputs'].shape == (3, 3, *SIZE) and packed['inputs'].dtype == torch.uint8
    assert (packed['inputs'][1].permute(1, 2, 0).numpy() == clip['frames'][1]).all()
    sample = packed['data_samples']
    assert sample.gt_masks.shape == (3, 2, *SIZE) and (sample.gt_masks[0, 0].numpy() == clip['masks'][0][0]).all()
    assert not sample.gt_masks[1, 1].any() and (sample.gt_masks[2, 1].numpy() == _disc(40, 32, 6)).all()
    assert sample.object_ids.tolist() == [3, 5] and sample.ori_shape == SIZE and sample.video_name == 'clip'
    resize = dict(type='ClipResize', sizes=[24, 32, 40], consistent=False)
    with pytest.raises(ValueError, match=r'the frames of clip have the sizes.*consistent=True'):
        for seed in range(9):
            _apply([resize, dict(type='PackClip')], clip, seed)


@pytest.mark.parametrize(('transform', 'message'), [
    (dict(type='ClipRandomFlip', prob=2), r'prob=2 must be in \[0, 1\]'),
    (dict(type='ClipRandomAffine', degrees=-3), 'degrees=-3; a number from 0 on'),
    (dict(type='ClipRandomAffine', degrees=3, interpolation='cubic'), "'cubic'; allowed are nearest, bilinear"),
    (dict(type='ClipRandomAffine', degrees=3, translate=(1.2, 0)), 'translate=1.2'),
    (dict(type='ClipRandomAffine', degrees=3, shear=(1, 2, 3)), r'shear=\(1, 2, 3\)'),
    (dict(type='ClipRandomAffine', degrees=3, num_tentatives=0), 'num_tentatives=0'),
    (dict(type='ClipResize', sizes=[]), r'sizes=\[\]'), (dict(type='ClipResize', sizes=[(1, 2, 3)]), 'sizes='),
    (dict(type='ClipResize', sizes=8, square=True, max_size=9), 'max_size=9 has no effect'),
    (dict(type='ClipColorJitter', hue=.6), 'hue=0.6 gives the range -0.6 to 0.6, which must lie in -0.5 to 0.5'),
    (dict(type='ClipColorJitter', brightness=(-1, 2)), 'brightness'),
    (dict(type='ClipMosaic', grid_h=0), 'grid_h=0'), (dict(type='ClipRandomGrayscale', prob=-1), 'prob=-1')])
def test_settings_out_of_range(transform, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(transform)
