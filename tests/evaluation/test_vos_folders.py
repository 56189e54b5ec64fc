"""J&F of folders, in both layouts, against hand values; bad folders."""
import numpy as np
import pytest
from PIL import Image

from maskforge.evaluation.vos_folders import evaluate_folders
from maskforge.formats.vos_results import write_video_masks

SIZE = (480, 854)
NAMES = [f'{number:05d}' for number in range(5)]


def box(left, width=200):
    mask = np.zeros(SIZE, bool)
    mask[100:200, left:left + width] = True
    return mask


def write(root, video, masks, layout='palette', names=NAMES):
    write_video_masks(root / video, masks, names, size=SIZE, layout=layout)


@pytest.fixture(params=['palette', 'objects'])
def folders(request, tmp_path):
    """Video a: object 1 shifted by 10 pixels. b: object 1 exact, object 2 appears in frame 2 and is never found."""
    gt, pred = tmp_path / 'gt', tmp_path / 'pred'
    write(gt, 'a', {1: [box(200)] * 5}, request.param)
    write(pred, 'a', {1: [box(210)] * 5}, request.param)
    write(gt, 'b', {1: [box(100)] * 5, 2: [None, None, box(500), box(500), None]}, request.param)
    write(pred, 'b', {1: [box(100)] * 5, 2: [None] * 5}, request.param)
    return gt, pred


@pytest.mark.parametrize('workers', [1, 3])
def test_hand_values(folders, workers):
    done = []
    report = evaluate_folders(*folders, num_workers=workers, progress=done.append)
    found = {(one.video, one.name): one.score for one in report.objects}
    assert list(found) == [('a', '001'), ('b', '001'), ('b', '002')]
    assert found['a', '001'] == (pytest.approx(0.904762, abs=1e-6), pytest.approx(0.69, abs=1e-6), 3)
    assert found['b', '001'] == (1, 1, 3)
    assert found['b', '002'] == (0, 0, 2)  # frames 2 and 3: frame 1 is before its time, 0 and 4 do not count
    # all objects count the same, not all videos
    assert report.means() == pytest.approx(dict(J=1.904762 / 3, F=1.69 / 3, JF=(1.904762 + 1.69) / 6), abs=1e-6)
    assert sum(done) == 2


def test_all_frames(folders):
    report = evaluate_folders(*folders, skip_first_and_last=False)
    assert [one.score.frames for one in report.objects] == [5, 5, 3]
    assert report.objects[2].score.j == pytest.approx(1 / 3)  # empty in both in frame 4


def test_another_tolerance(folders):
    assert evaluate_folders(*folders, bound=0.02).objects[0].score.f == 1


def test_table_and_csv(folders, tmp_path):
    report = evaluate_folders(*folders)
    path = report.write_csv(tmp_path / 'results.csv')
    assert path.read_text().splitlines() == [
        'sequence,obj,J&F,J,F', 'Global score,,59.9,63.5,56.3', 'a,001,79.7,90.5,69.0', 'b,001,100.0,100.0,100.0',
        'b,002,0.0,0.0,0.0']
    assert '| b            | 002    | 2      | 0.0   | 0.0   | 0.0   |' in report.table(by='object')
    assert '| b            | 2       | 3      | 50.0 | 50.0 | 50.0 |' in report.table()
    assert '| Global score | 3       |        | 59.9 | 63.5 | 56.3 |' in report.table()


def test_truth_in_a_folder_of_annotations(folders):
    gt, pred = folders
    root = gt.parent / 'root'
    root.mkdir()
    expected = evaluate_folders(gt, pred).means()
    gt.rename(root / 'Annotations')
    assert evaluate_folders(root, pred).means() == expected


def test_sparse_truth(folders):
    """Predictions of frames without annotation do not count."""
    gt, pred = folders
    for path in gt.rglob('00001.png'):
        path.unlink()
    report = evaluate_folders(gt, pred)
    assert [one.score.frames for one in report.objects] == [2, 2, 2]


def test_strict(folders):
    gt, pred = folders
    write(pred, 'c', {1: [box(5)] * 5})
    assert len(evaluate_folders(gt, pred).objects) == 3
    with pytest.raises(ValueError, match=r'the videos differ \(strict\): only in .*gt: none; only in .*pred: c\.'):
        evaluate_folders(gt, pred, strict=True)


def test_object_that_is_never_true_is_named(tmp_path):
    for root in (tmp_path / 'gt', tmp_path / 'pred'):
        write(root, 'a', {1: [box(200)] * 5, 3: [box(3), None, None, None, None]}, 'objects')
    report = evaluate_folders(tmp_path / 'gt', tmp_path / 'pred')
    assert [one.name for one in report.objects] == ['001']
    assert report.left_out == [f'{tmp_path / "gt" / "a" / "003"}: the truth shows no object in the 3 frames that count']


def test_nothing_to_evaluate(tmp_path):
    for root in (tmp_path / 'gt', tmp_path / 'pred'):
        write(root, 'a', {1: [box(200), box(200)]}, names=NAMES[:2])
    with pytest.raises(ValueError, match=r'there is no object to evaluate.*--do-not-skip-first-and-last-frame'):
        evaluate_folders(tmp_path / 'gt', tmp_path / 'pred').means()


def _remove(pred):
    (pred / 'a' / '00002.png').unlink()
    (pred / 'a' / '00003.png').unlink()


def _shrink(pred):
    Image.open(pred / 'a' / '00002.png').resize((100, 50)).save(pred / 'a' / '00002.png')


def _colour(pred):
    Image.open(pred / 'a' / '00002.png').convert('RGB').save(pred / 'a' / '00002.png')


def _cut(pred):
    path = pred / 'a' / '00002.png'
    path.write_bytes(path.read_bytes()[:200])


def _other_layout(pred):
    for path in (pred / 'a').iterdir():
        path.unlink()
    write(pred, 'a', {1: [box(2)] * 5}, 'objects')


def _rename(pred):
    (pred / 'a').rename(pred / 'aa')


@pytest.mark.parametrize(('damage', 'error', 'message'), [
    (_remove, FileNotFoundError, r'2 of 3 predictions for .*gt/a are missing, first .*a/00002.png; frames without any'),
    (_shrink, ValueError, r'pred/a/00002.png has 100 x 50 pixels, its truth .*gt/a/00002.png has 854 x 480'),
    (_colour, ValueError, r'pred/a/00002.png has the colours of mode RGB'),
    (_cut, ValueError, r'pred/a/00002.png is not a whole, readable PNG'),
    (_other_layout, FileNotFoundError, "one folder an object, but the truth one PNG a frame.*layout='palette'"),
    (_rename, ValueError, r'no video is in both folders. .*gt has a; .*pred has aa.'),
])
def test_bad_predictions(damage, error, message, tmp_path):
    for root in (tmp_path / 'gt', tmp_path / 'pred'):
        write(root, 'a', {1: [box(200)] * 5})
    damage(tmp_path / 'pred')
    with pytest.raises(error, match=message):
        evaluate_folders(tmp_path / 'gt', tmp_path / 'pred')


def test_missing_object(tmp_path):
    write(tmp_path / 'gt', 'a', {1: [box(200)] * 5, 2: [box(3)] * 5}, 'objects')
    write(tmp_path / 'pred', 'a', {1: [box(200)] * 5}, 'objects')
    with pytest.raises(FileNotFoundError, match=r'the folder .*pred/a/002 does not exist'):
        evaluate_folders(tmp_path / 'gt', tmp_path / 'pred')


@pytest.mark.parametrize(('gt', 'pred', 'options', 'error', 'message'), [
    ('gone', '.', {}, FileNotFoundError, 'folder of true masks .*gone does not exist'),
    ('.', 'gone', {}, FileNotFoundError, 'folder of predictions .*gone does not exist'),
    ('.', '.', {}, ValueError, 'no video is in both folders. .* has none'),
    ('.', '.', dict(num_workers=0), ValueError, 'num_workers=0: at least one'),
])
def test_bad_roots(gt, pred, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        evaluate_folders(tmp_path / gt, tmp_path / pred, **options)
