"""The labelling job with a toy model: what the output keeps, flags, options, bad input, going on after a kill."""
import json
import re
import shutil
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from toy_boxes import ToyBoxLabeller, write_toy

from maskforge.formats import rle
from maskforge.inference import label_boxes
from maskforge.inference.label_journal import LabelJournal
from maskforge.inference.label_record import box_rle


@pytest.fixture
def toy(tmp_path):
    """Config, checkpoint, images and 30 boxes."""
    write_toy(tmp_path)
    return tmp_path


@pytest.fixture
def notes(monkeypatch):
    """What the job prints."""
    found = []
    for module in ('label_job', 'label_loader'):
        monkeypatch.setattr(f'maskforge.inference.{module}.print_log', lambda text, **_: found.append(text))
    return found


def label(toy, name='out.json', **options):
    options = dict(dict(ann_file=toy / 'boxes.json', batch_size=3, chunk_size=4, review=0, device='cpu'), **options)
    return label_boxes(toy / 'toy.py', options.pop('ann_file'), toy / 'photos', toy / name, weights=toy / 'toy.pth',
                       **options)


def change(toy, **changes):
    """Change single annotations (``at7=dict(bbox=...)``) or whole keys of the file."""
    data = json.loads((toy / 'boxes.json').read_text())
    for key, value in changes.items():
        if key.startswith('at'):
            data['annotations'][int(key[2:])].update(value)
        else:
            data[key] = value
    (toy / 'boxes.json').write_text(json.dumps(data))
    return data


def test_keeps_everything_and_adds_masks(toy):
    data = change(toy, at3=dict(segmentation=[[0, 0, 5, 0, 5, 5]], iscrowd=0))
    out = json.loads(label(toy).read_text())
    assert {key: out[key] for key in out if key != 'annotations'} == \
        {key: data[key] for key in data if key != 'annotations'}
    for before, after in zip(data['annotations'], out['annotations'], strict=True):
        ours = {'segmentation', 'area', 'iscrowd', 'quality', 'flags', 'box_agreement'}
        assert set(after) == set(before) | ours
        assert {key: after[key] for key in before if key not in ours} == \
            {key: before[key] for key in before if key not in ours}
        assert 0 <= after['quality'] <= 1 and after['flags'] == []
        assert after['segmentation']['size'] == [72, 96]
        assert after['area'] == rle.area(after['segmentation']) != before['area']
    coco = COCO(str(toy / 'out.json'))
    assert coco.annToMask(coco.anns[21]).sum() == out['annotations'][3]['area']
    assert sorted(entry.name for entry in toy.iterdir() if entry.name.startswith(('out', '.'))) == \
        ['out.json', 'out.json.job']


def test_masks_lie_where_the_boxes_are(toy):
    for record in json.loads(label(toy).read_text())['annotations']:
        x, y, width, height = record['bbox']
        tight = rle.box(record['segmentation'])
        assert tight[0] >= int(x) and tight[2] <= int(x + width) + 1
        assert tight[1] >= int(y) and tight[3] <= int(y + height) + 1


FLAGGED = [
    (dict(bbox=[10, 10, 0, 5]), 'box_without_extent', False),
    (dict(bbox=[10, 10, -4, 5]), 'box_without_extent', False),
    (dict(bbox=[200, 10, 5, 5]), 'box_outside_image', False),
    (dict(bbox=[1, 2, 3]), 'box_malformed', False),
    (dict(bbox=[1, 2, 3, 'x']), 'box_malformed', False),
    (dict(bbox=[1, 2, 3, float('nan')]), 'box_malformed', False),
    (dict(bbox=[1, 2, 3, 10 ** 400]), 'box_malformed', False),
    (dict(bbox=None), 'box_malformed', False),
    (dict(image_id=5), 'unknown_image', False),
    (dict(iscrowd=1, segmentation=dict(size=[72, 96], counts=[6912])), 'crowd', False),
    (dict(bbox=[0, 0, 70, 70]), 'left_out', False),
    (dict(bbox=[-20, 10, 40, 20]), 'box_clipped', True),
]


@pytest.mark.parametrize(('changes', 'flag', 'labelled'), FLAGGED)
def test_boxes_that_cannot_be_labelled_stay_with_a_flag(toy, changes, flag, labelled):
    before = change(toy, at7=changes)['annotations'][7]
    out = json.loads(label(toy).read_text())['annotations']
    assert len(out) == 30 and out[7]['flags'] == [flag]
    assert (out[7]['quality'] is not None) == labelled
    assert all(record['flags'] == [] and record['area'] for index, record in enumerate(out) if index != 7)
    if not labelled:
        assert out[7].pop('ignore', 0) == (flag != 'crowd')
        assert str({key: out[7][key] for key in before}) == str(before) and set(out[7]) - set(before) == {'flags',
                                                                                                      'quality'}


def test_missing_broken_and_other_images(toy, notes):
    (toy / 'photos' / 'photo 2.png').unlink()
    (toy / 'photos' / 'photo 4.png').write_bytes(b'broken')
    cv2.imwrite(str(toy / 'photos' / 'deep' / 'photo 5.png'), np.full((50, 60, 3), 99, np.uint8))
    out = json.loads(label(toy).read_text())['annotations']
    flags = {102: ['image_missing'], 104: ['image_unreadable'], 105: ['image_size_differs']}
    assert all(record['flags'] == flags.get(record['image_id'], []) for record in out)
    assert any('1 of 6 images are missing' in note and 'photo 2.png' in note for note in notes)
    assert any('photo 4.png' in note for note in notes)
    assert '15 of 30 boxes labelled' in notes[-1] and 'image_unreadable: 5' in notes[-1]


def test_an_empty_mask_is_flagged(toy, monkeypatch):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        samples = plain(self, inputs, data_samples, mode)
        for sample in samples:
            sample.pred_instances.masks = type(sample.pred_instances.masks).from_bitmaps(np.zeros((1, 72, 96), bool))
        return samples

    plain = ToyBoxLabeller.forward
    monkeypatch.setattr(ToyBoxLabeller, 'forward', forward)
    record = json.loads(label(toy).read_text())['annotations'][0]
    assert record['flags'] == ['empty_mask'] and record['area'] == record['quality'] == 0


def test_detections_of_another_model(toy):
    data = json.loads((toy / 'boxes.json').read_text())
    found = [dict(image_id=r['image_id'], category_id=r['category_id'], bbox=r['bbox'], score=(n % 10) / 10)
             for n, r in enumerate(data['annotations'])]
    (toy / 'found.json').write_text(json.dumps(found))
    (toy / 'images.json').write_text(json.dumps({key: data[key] for key in ('info', 'images', 'categories')}))
    out = json.loads(label(toy, ann_file=toy / 'found.json', images_json=toy / 'images.json',
                           min_score=0.5).read_text())
    assert list(out) == ['info', 'images', 'categories', 'annotations']
    assert [record['id'] for record in out['annotations']] == [n + 1 for n in range(30) if n % 10 >= 5]
    assert all(record['score'] >= 0.5 and record['area'] > 0 for record in out['annotations'])
    whole = json.loads(label(toy, 'whole.json').read_text())['annotations']
    assert [r['segmentation'] for r in out['annotations']] == \
        [r['segmentation'] for n, r in enumerate(whole) if n % 10 >= 5]


def test_clip_to_box(toy, monkeypatch):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        samples = plain(self, inputs, data_samples, mode)
        for sample in samples:
            sample.pred_instances.masks = type(sample.pred_instances.masks).from_bitmaps(np.ones((1, 72, 96), bool))
        return samples

    plain = ToyBoxLabeller.forward
    monkeypatch.setattr(ToyBoxLabeller, 'forward', forward)
    free = json.loads(label(toy).read_text())['annotations']
    clipped = json.loads(label(toy, 'clipped.json', clip_to_box=True).read_text())['annotations']
    assert all(record['area'] == 72 * 96 for record in free)
    for record in clipped:
        x, y, width, height = record['bbox']
        expected = [int(x), int(y), min(int(np.ceil(x + width)), 96), min(int(np.ceil(y + height)), 72)]
        assert rle.box(record['segmentation']) == expected


@pytest.mark.parametrize(('box', 'inside'), [((0, 0, 8, 6), 48), ((1.5, 2, 2, 2), 6), ((-3, -3, 4, 4), 1),
                                             ((6.5, 5, 9, 9), 2), ((20, 2, 3, 3), 0)])
def test_box_rle(box, inside):
    bitmap = rle.decode(box_rle(box, (6, 8)))
    x0, y0 = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
    expected = np.zeros((6, 8), bool)
    expected[y0:int(np.ceil(box[1] + box[3])), x0:int(np.ceil(box[0] + box[2]))] = True
    assert (bitmap == expected).all() and bitmap.sum() == inside


def test_load_mask_compares_with_the_masks_of_the_file(toy):
    first = json.loads(label(toy).read_text())['annotations']
    data = change(toy)
    for number, record in enumerate(data['annotations']):
        record['segmentation'] = first[number]['segmentation']
    data['annotations'][1]['segmentation'] = [[0, 0, 96, 0, 96, 72, 0, 72]]
    (toy / 'boxes.json').write_text(json.dumps(data))
    second = json.loads(label(toy, 'second.json', load_mask=True).read_text())['annotations']
    ious = [record['iou'] for record in second]
    assert ious[1] == pytest.approx(first[1]['area'] / (96 * 72), abs=1e-5)
    assert set(ious[:1] + ious[2:]) == {1.0}


BAD = [
    (dict(annotations=[]), {}, ValueError, 'has no boxes: there is nothing to label'),
    (dict(images=[]), {}, ValueError, "has no 'images'"),
    (dict(images=[dict(id=1)]), {}, ValueError, r'images\[0\] needs id, file_name, height and width'),
    (dict(images=[dict(id=1, file_name='a', height=2, width=2)] * 2), {}, ValueError, 'image id 1 is used twice'),
    ({}, dict(load_mask=True), ValueError, 'annotation 0 has no segmentation, but load_mask'),
    ({}, dict(images_json='boxes.json'), ValueError, 'has images of its own'),
    ({}, dict(ann_file='bokses.json'), FileNotFoundError, r'did you mean boxes\.json'),
    ({}, dict(batch_size=0), ValueError, 'batch_size=0 must be at least 1'),
    ({}, dict(min_score=1.5), ValueError, 'none of the 30 boxes can be labelled'),
]


@pytest.mark.parametrize(('changes', 'options', 'error', 'message'), BAD)
def test_bad_input(toy, changes, options, error, message):
    change(toy, **changes)
    options = {key: toy / value if isinstance(value, str) else value for key, value in options.items()}
    with pytest.raises(error, match=message):
        label(toy, **options)
    assert not list(toy.glob('out*'))


def test_a_list_needs_images(toy):
    (toy / 'found.json').write_text('[{"image_id": 100, "bbox": [1, 2, 3, 4]}]')
    with pytest.raises(ValueError, match='is a list of detections: give the COCO JSON of their images'):
        label(toy, ann_file=toy / 'found.json')


def test_a_folder_without_the_images(toy):
    shutil.move(toy / 'photos', toy / 'elsewhere')
    (toy / 'photos').mkdir()
    with pytest.raises(FileNotFoundError, match=r'none of the 6 images with boxes is in img_dir=.*photo 0\.png'):
        label(toy)


@pytest.mark.parametrize('die_at', [1, 5, 9])
def test_goes_on_after_an_interruption_without_doing_work_twice(toy, monkeypatch, die_at):
    whole = label(toy, 'whole.json').read_bytes()
    step, calls = ToyBoxLabeller.test_step, []

    def dies(self, data):
        calls.append(len(data['inputs']))
        if len(calls) == die_at:
            raise KeyboardInterrupt
        return step(self, data)

    monkeypatch.setattr(ToyBoxLabeller, 'test_step', dies)
    with pytest.raises(KeyboardInterrupt):
        label(toy)
    assert not (toy / 'out.json').exists()
    (toy / 'out.json.parts' / '.chunk_0000003.jsonl.x.tmp').write_text('{"row": 1')
    (toy / '.out.json.y.tmp').write_text('{"info": ')
    done = sum(len(path.read_text().splitlines()) for path in (toy / 'out.json.parts').glob('chunk*'))
    calls[:] = [0] * die_at
    label(toy)
    assert sum(calls) == 30 - done and (done > 0) == (die_at > 2)
    assert (toy / 'out.json').read_bytes() == whole
    assert sorted(path.name for path in toy.glob('*out*')) == ['out.json', 'out.json.job']
    assert not list(toy.glob('.out*'))


def test_a_started_job_with_other_settings_is_an_error(toy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ToyBoxLabeller, 'test_step', lambda self, data: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            label(toy)
    with pytest.raises(ValueError, match=r'started job with other settings \(clip_to_box was False, now True\)'):
        label(toy, clip_to_box=True)
    change(toy, at0=dict(note=1))
    with pytest.raises(ValueError, match='boxes was'):
        label(toy)
    assert label(toy, clip_to_box=True, resume=False).exists()


def test_a_finished_job_is_not_done_again(toy, monkeypatch, notes):
    before = label(toy).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(ToyBoxLabeller, 'test_step', lambda self, data: 1 / 0)
        assert label(toy).read_bytes() == before
        assert f'{toy / "out.json"} is finished' in notes[-1] and '--overwrite' in notes[-1]
        with pytest.raises(ValueError, match=r'out\.json is of a finished job with other settings \(batch_size was 3'):
            label(toy, batch_size=2)
        with pytest.raises(ZeroDivisionError):
            label(toy, resume=False)
    assert label(toy).read_bytes() == before
    (toy / 'out.json').unlink()
    assert label(toy).read_bytes() == before


@pytest.mark.parametrize(('name', 'what'), [('toy.pth', 'model was'), ('toy.py', 'model was'), ('boxes.json', 'boxes')])
def test_other_inputs_for_a_finished_output_are_named(toy, name, what):
    label(toy)
    if name == 'toy.pth':
        state = torch.load(toy / name)
        torch.save(dict(state, state_dict={key: value + 1 for key, value in state['state_dict'].items()}), toy / name)
    elif name == 'toy.py':
        (toy / name).write_text((toy / name).read_text().replace('crop_size=32', 'crop_size=40'))
    else:
        change(toy, at0=dict(note=1))
    with pytest.raises(ValueError, match=f'of a finished job with other settings .*{what}'):
        label(toy)


LOCKED = """
import sys, time
from pathlib import Path
from maskforge.inference.job_lock import JobLock
lock = JobLock(Path(sys.argv[1]))
lock.take()
print('taken', flush=True)
time.sleep(60)
"""


def test_a_second_job_on_the_same_output_is_refused(toy):
    other = subprocess.Popen([sys.executable, '-c', LOCKED, str(toy / 'out.json')], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == 'taken\n'
        with pytest.raises(ValueError, match=rf'out\.json is being written by another job \(process {other.pid} on '
                                             rf'{re.escape(socket.gethostname())}\)'):
            label(toy)
        assert not (toy / 'out.json.parts').exists() and label(toy, 'other.json').exists()
    finally:
        other.kill()
        other.communicate()
    assert (toy / '.out.json.lock').exists()
    assert label(toy).exists() and not (toy / '.out.json.lock').exists()


def test_workers_and_chunks_do_not_matter(toy):
    options = [{}, dict(num_workers=2), dict(chunk_size=100), dict(chunk_size=1), dict(review=5)]
    assert len({label(toy, f'{index}.json', **more).read_bytes() for index, more in enumerate(options)}) == 1


def test_the_threads_of_the_caller_stay(toy):
    before = torch.get_num_threads()
    label(toy)
    assert torch.get_num_threads() == before


def test_a_model_that_returns_no_mask_is_named(toy, monkeypatch):
    monkeypatch.setattr(ToyBoxLabeller, 'test_step', lambda self, data: data['data_samples'])
    with pytest.raises(ValueError, match='one mask and one score per box, but the sample has no pred_instances'):
        label(toy)


def test_journal_survives_a_kill_while_it_is_removed(tmp_path):
    journal = LabelJournal(tmp_path / 'out.json')
    journal.open(dict(a=1), resume=True)
    journal.add(0, [dict(row=0)])
    (journal.folder / 'settings.json').unlink()  # as if a removal had begun
    journal.open(dict(a=1), resume=True)
    assert journal.done(1) == [False]


def test_results_by_row(tmp_path):
    journal = LabelJournal(tmp_path / 'out.json')
    journal.open({}, resume=True)
    for chunk in range(70):
        journal.add(chunk, [dict(row=2 * chunk + 1, text='é' * chunk), dict(row=2 * chunk)])
    results = journal.results(70, 150)
    order = np.random.default_rng(0).permutation(140)
    assert [results.get(row)['row'] for row in order] == order.tolist() and results.get(149) is None
    results.close()


def test_rle_of_pycocotools_is_read(toy):
    record = json.loads(label(toy).read_text())['annotations'][0]
    assert coco_mask.decode(record['segmentation']).sum() == record['area']
