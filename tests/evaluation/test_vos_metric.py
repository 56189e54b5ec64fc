"""J&F as a metric of a run: predictions as RLE, truth from the sample or from files."""
import csv
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as torch_dist
import torch.multiprocessing as processes
from mmengine.evaluator import Evaluator

from maskforge.evaluation import VOSMetric
from maskforge.evaluation.vos_folders import evaluate_folders
from maskforge.formats import rle
from maskforge.formats.palette_png import read_id_png
from maskforge.formats.vos_layout import scan_masks, split_ids
from maskforge.formats.vos_results import write_video_masks
from maskforge.registry import METRICS
from maskforge.structures import ClipSample, VideoMasks

SIZE = (48, 80)
NAMES = tuple(f'{number:05d}' for number in range(6))


class Masks:
    """Loads masks from a list of dicts; picklable."""

    def __init__(self, frames):
        self.frames = frames

    def __call__(self, place):
        return self.frames[place]


def sample(name, truth, predicted, *, annotated=range(6), **meta):
    """Truth and prediction: object id -> 6 arrays or None."""
    found = ClipSample(metainfo=dict(video_name=name, frame_names=NAMES, ori_shape=SIZE, source='drawn', **meta))
    frames = [{number: items[place] for number, items in truth.items() if items[place] is not None}
              for place in range(6)]
    found.gt_frames = VideoMasks(Masks(frames), list(annotated))
    found.pred_masks = {number: [None if item is None else rle.encode(item) for item in items]
                        for number, items in predicted.items()}
    found.pred_scores = {number: [1.0] * 6 for number in predicted}
    return found


def drawn(seed):
    """A video of two or three objects that come and go, and predictions that are somewhat off."""
    rng = np.random.default_rng(seed)
    truth, predicted = {}, {}
    for number in range(1, 3 + seed % 2):
        items = []
        for _ in range(6):
            mask = np.zeros(SIZE, bool)
            y, x = rng.integers(0, 30), rng.integers(0, 60)
            mask[y:y + 15, x:x + 12] = True
            items.append(mask if rng.random() < 0.8 else None)
        truth[number] = items
        moves = rng.integers(-3, 4, (6, 2))
        predicted[number] = [None if item is None or rng.random() < 0.2 else np.roll(item, move, (0, 1))
                             for item, move in zip(items, moves)]
    return truth, predicted


@pytest.fixture
def videos():
    return {f'video {seed}': drawn(seed) for seed in range(5)}


@pytest.fixture
def samples(videos):
    return [sample(name, *masks) for name, masks in videos.items()]


def score(metric, samples):
    evaluator = Evaluator(metric)
    for one in samples:
        evaluator.process([one])
    return evaluator.evaluate(len(samples))


def write_folders(videos, root, layout):
    for name, (truth, predicted) in videos.items():
        for place, masks in (('gt', truth), ('pred', predicted)):
            write_video_masks(root / place / name, masks, NAMES, size=SIZE, layout=layout)


@pytest.mark.parametrize('skip', [True, False])
def test_equals_the_evaluation_of_folders(videos, samples, skip, tmp_path):
    """One folder an object keeps overlapping masks, as the samples have them."""
    write_folders(videos, tmp_path, 'objects')
    expected = evaluate_folders(tmp_path / 'gt', tmp_path / 'pred', skip_first_and_last=skip).means()
    found = score(VOSMetric(skip_first_and_last=skip, table='none'), samples)
    assert found == pytest.approx({f'vos/{name}': value for name, value in expected.items()}, abs=1e-12)
    assert found == score(VOSMetric(tmp_path / 'gt', skip_first_and_last=skip, table='none'), samples)
    assert 0.2 < found['vos/JF'] < 0.9


def test_truth_from_palette_files(videos, samples, tmp_path):
    write_folders(videos, tmp_path, 'palette')
    found = score(VOSMetric(tmp_path / 'gt'), samples)
    for one, (name, _) in zip(samples, videos.items()):
        folder = tmp_path / 'gt' / name
        track, = scan_masks(folder)
        one.gt_frames = VideoMasks(lambda place, track=track: split_ids(track.read(f'{NAMES[place]}.png')), range(6))
    assert score(VOSMetric(), samples) == found


def test_perfect_and_hand_values():
    mask = np.zeros((480, 854), bool)
    mask[100:200, 200:400] = True
    for shift, expected in ((0, (1, 1)), (10, (0.904762, 0.69))):
        one = sample('a', {4: [mask] * 6}, {4: [np.roll(mask, shift, 1)] * 6})
        one.set_metainfo(dict(ori_shape=mask.shape))
        found = score(VOSMetric(), [one])
        assert (found['vos/J'], found['vos/F']) == pytest.approx(expected, abs=1e-6)
        assert found['vos/JF'] == pytest.approx(np.mean(expected), abs=1e-6)


def test_only_annotated_frames_and_true_objects_count():
    """Frames 1 and 3 and 5 are annotated, so only 3 counts; object 9 is predicted only."""
    mask, empty = np.ones(SIZE, bool), np.zeros(SIZE, bool)
    mask[:, 40:] = False
    one = sample('a', {1: [None, mask, None, mask, None, mask]}, {1: [empty, empty, empty, mask, None, empty],
                                                                   9: [mask] * 6}, annotated=[1, 3, 5])
    assert score(VOSMetric(), [one])['vos/JF'] == 1
    assert score(VOSMetric(skip_first_and_last=False), [one])['vos/JF'] == pytest.approx(1 / 3)


def test_bound_and_table_and_csv(samples, tmp_path, engine_log):
    exact = score(VOSMetric(bound=0.0, table='none'), samples)
    assert not any('Global score' in line for line in engine_log)
    loose = score(VOSMetric(bound=0.3, table='video', results_file=tmp_path / 'scores.csv'), samples)
    assert exact['vos/F'] < loose['vos/F'] and exact['vos/J'] == loose['vos/J']
    table = next(line for line in engine_log if 'Global score' in line)
    assert '| video 0 ' in table and '| object ' not in table
    score(VOSMetric(table='object'), samples)
    assert any('| object ' in line for line in engine_log)
    rows = list(csv.reader((tmp_path / 'scores.csv').open()))
    assert rows[1][:2] == ['Global score', ''] and float(rows[1][2]) == pytest.approx(100 * loose['vos/JF'], abs=0.06)
    assert len(rows) == 2 + 2 * 3 + 3 * 2


@pytest.mark.parametrize('layout', ['palette', 'objects'])
def test_written_predictions(videos, samples, layout, tmp_path):
    assert score(VOSMetric(output_dir=tmp_path / 'pred', layout=layout, format_only=True), samples) == {}
    with_scores = score(VOSMetric(output_dir=tmp_path / 'again', layout=layout), samples)
    write_folders(videos, tmp_path / 'expected', layout)
    files = sorted(path.relative_to(tmp_path / 'pred') for path in (tmp_path / 'pred').rglob('*.png'))
    assert len(files) == (30 if layout == 'palette' else 12 * 6)
    for path in files:
        expected = read_id_png(tmp_path / 'expected' / 'pred' / path)
        assert (read_id_png(tmp_path / 'pred' / path) == expected).all()
        assert (read_id_png(tmp_path / 'again' / path) == expected).all()
    if layout == 'objects':
        folders = evaluate_folders(tmp_path / 'expected' / 'gt', tmp_path / 'pred').means()
        assert folders['JF'] == pytest.approx(with_scores['vos/JF'], abs=1e-12)


def test_any_share_and_repeated_videos(samples, monkeypatch):
    """What processes bring, in any order and with videos twice, gives the same number to the last bit."""
    expected = score(VOSMetric(), samples)
    assert score(VOSMetric(), [*samples[::-1], samples[1]]) == expected
    parts = []
    for share in (samples[3:], samples[:4]):
        metric = VOSMetric()
        Evaluator(metric).process(share)
        parts.append(pickle.loads(pickle.dumps(metric.results)))
    metric = VOSMetric()
    monkeypatch.setattr(metric, '_gather', lambda: parts)
    assert metric.evaluate(len(samples)) == expected


def test_one_sample_for_each_object(videos, samples):
    """single_object_mode: the objects of a video come in samples of their own."""
    split = [sample(name, {number: items}, {number: predicted[number]})
             for name, (truth, predicted) in videos.items() for number, items in truth.items()]
    # alone, an object's frames are the same: all six are annotated
    assert score(VOSMetric(), split) == score(VOSMetric(), samples)


def _rank(rank, folder, samples):
    torch_dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    found = [score(VOSMetric(), share[rank]) for share in ((samples[:1], samples[1:]), (samples[::2], samples[1::2]))]
    Path(folder, f'{rank}.pkl').write_bytes(pickle.dumps(found))
    torch_dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='gloo over a file')
def test_two_processes_equal_one(samples, tmp_path):
    expected = score(VOSMetric(), samples)
    processes.spawn(_rank, (str(tmp_path), samples), nprocs=2)
    assert [pickle.loads((tmp_path / f'{rank}.pkl').read_bytes()) for rank in range(2)] == [[expected] * 2] * 2


def _drop(one):
    del one.pred_masks


def _no_truth(one):
    del one.gt_frames


def _fewer(one):
    one.pred_masks[1] = one.pred_masks[1][:4]


def _other_size(one):
    one.pred_masks[1][2] = rle.encode(np.ones((20, 30), bool))


def _other_truth(one):
    one.gt_frames = VideoMasks(Masks([{1: np.ones((20, 30), bool)}] * 6), range(6))


@pytest.mark.parametrize(('damage', 'message'), [
    (_drop, "video 'video 0': the data sample has no pred_masks; the model must return them"),
    (_no_truth, "video 'video 0': there is no truth; evaluate on a data set that gives gt_frames"),
    (_fewer, "video 'video 0': pred_masks has 4 masks of object 1, the video 6 frames"),
    (_other_size, r"frame 00002: the predicted mask of object 1 has the size \(20, 30\), ori_shape is \(48, 80\)"),
    (_other_truth, r"frame 00001: the true mask of object 1 has 30 x 20 pixels, the frames have 80 x 48"),
])
def test_bad_samples(damage, message, samples):
    damage(samples[0])
    with pytest.raises(ValueError, match=message):
        score(VOSMetric(), samples[:1])


@pytest.mark.parametrize(('names', 'folder', 'message'), [
    (['00000', '7'], '', r'7.png belongs to no frame of video .video 0. \(frames 00000 to 00005\)'),
    (['00000'], 'cat', r'cat: the folder of an object must be named by its id'),
])
def test_bad_annotation_folders(names, folder, message, samples, tmp_path):
    write_video_masks(tmp_path / 'video 0' / folder, {1: [np.ones(SIZE, bool)] * len(names)}, names, size=SIZE)
    with pytest.raises(ValueError, match=message):
        score(VOSMetric(tmp_path), samples[:1])


@pytest.mark.parametrize(('options', 'message'), [
    (dict(table='all'), "table='all' of VOSMetric: allowed are object, video, none"),
    (dict(layout='davis'), "layout='davis' of VOSMetric: allowed are palette, objects"),
    (dict(format_only=True), 'format_only=True writes PNGs'),
])
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        METRICS.build(dict(type='VOSMetric', **options))


def test_davis_against_itself(tmp_path):
    """The real annotations, moved by some pixels, through files and through the metric."""
    root = Path(os.environ.get('MASKFORGE_TEST_DATA', 'no such folder')) / 'davis' / 'Annotations'
    if not root.is_dir():
        pytest.skip('MASKFORGE_TEST_DATA has no davis')
    names = [path.stem for path in sorted((root / 'car-shadow').glob('*.png'))]
    ids = [read_id_png(root / 'car-shadow' / f'{name}.png') for name in names]
    moved = [np.roll(one, (place % 4, place % 3), (0, 1)) for place, one in enumerate(ids)]
    one = ClipSample(metainfo=dict(video_name='car-shadow', frame_names=names, ori_shape=ids[0].shape, source='davis'))
    one.pred_masks = {1: [rle.encode(ids == 1) for ids in moved]}
    found = score(VOSMetric(root, output_dir=tmp_path, layout='palette'), [one])
    expected = evaluate_folders(root, tmp_path).means()
    assert found == pytest.approx({f'vos/{name}': value for name, value in expected.items()})
    assert 0.9 < found['vos/J'] < 1
