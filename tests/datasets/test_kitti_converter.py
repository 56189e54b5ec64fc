import json

import cv2
import numpy as np
import pytest
from PIL import Image

from maskforge.cli.convert import main
from maskforge.datasets.converters import kitti
from maskforge.formats import CocoJson
from maskforge.formats.kitti import KittiObject, write_kitti_labels

MAPPING = {'Person Group': 'person', 'PERSON': 'person', 'rollingbag': 'bag', 'tree': None}


@pytest.fixture
def folder(tmp_path):
    """``folder(name, count)`` makes a sequence: every image has a person and a bag, every third one a dog as well."""
    def make(name, count, suffix='.jpg'):
        for number in range(count):
            path = tmp_path / name / 'images' / f'{number:04d}{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
            objects = [KittiObject('person_group', (1, 2, 11, 22)),
                       KittiObject('Rollingbag', (number % 7, 3, 30, 29), score=1)]
            objects += [KittiObject('dog', (1, 1, 9, 9)), KittiObject('Tree', (1, 1, 9, 9))] if number % 3 == 0 else []
            write_kitti_labels(tmp_path / name / 'labels' / f'{path.stem}.txt', objects)
        return tmp_path / name
    return make


def _load(folder):
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob('*.json'))}


@pytest.mark.parametrize('count', [1, 5, 33, 100])
def test_shards_hold_every_image_once(count, folder, tmp_path):
    done = kitti.convert(folder('seq', count), tmp_path / 'out', num_shards=32, mapping=MAPPING)
    files = _load(tmp_path / 'out' / 'seq')
    shards = min(count, 32)
    assert list(files) == [f'seq-shard-{shard:05d}-of-{shards:05d}.json' for shard in range(shards)]
    sizes = [len(data['images']) for data in files.values()]
    assert max(sizes) - min(sizes) <= 1
    names = [image['file_name'] for data in files.values() for image in data['images']]
    assert sorted(names) == [f'seq/images/{number:04d}.jpg' for number in range(count)]
    for key in ('images', 'annotations'):
        ids = [record['id'] for data in files.values() for record in data[key]]
        assert sorted(ids) == list(range(1, len(ids) + 1))
    assert all(data['categories'] == [dict(id=1, name='person'), dict(id=2, name='bag')] for data in files.values())
    assert done.files == sorted((tmp_path / 'out' / 'seq').iterdir()) and f'({shards} files)' in str(done)
    assert done.classes == dict(person=count, bag=count)
    assert done.skipped == [f"class 'dog' ({-(-count // 3)} objects) is not in the mapping"]


def test_boxes_and_order(folder, tmp_path):
    source = folder('seq', 4)
    kitti.convert(source, tmp_path / 'out', num_shards=0, mapping={**MAPPING, 'dog': 'cat'}, category_order='given')
    coco = CocoJson.load(tmp_path / 'out' / 'seq' / 'seq.json')
    assert coco.category_names == ['person', 'bag', 'cat']
    assert coco.annotations.boxes[:2].tolist() == [[1, 2, 10, 20], [0, 3, 30, 26]]
    assert coco.annotation(0)['area'] == 200 and not coco.annotations.crowd.any()
    kitti.convert(source, tmp_path / 'all', num_shards=0)
    assert CocoJson.load(tmp_path / 'all' / 'seq' / 'seq.json').category_names == [
        'person_group', 'dog', 'Tree', 'Rollingbag']


def _folds(folder):
    found = {}
    for name, data in _load(folder).items():
        found.setdefault(name.split('-shard')[0], []).extend(image['file_name'] for image in data['images'])
    return found


@pytest.mark.parametrize(('options', 'sizes'), [
    (dict(num_partitions=2), [10, 10]), (dict(num_partitions=2, val_split=25), [5, 15]),
    (dict(num_partitions=3, partition_mode='random'), [7, 6, 7])])
def test_partitions(options, sizes, folder, tmp_path):
    source = folder('seq', 20)
    kitti.convert(source, tmp_path / 'out', num_shards=32, **options)
    folds = _folds(tmp_path / 'out' / 'seq')
    assert list(folds) == [f'seq-fold-{number:03d}-of-{len(sizes):03d}' for number in range(len(sizes))]
    assert [len(names) for names in folds.values()] == sizes
    assert len({name for names in folds.values() for name in names}) == 20
    kitti.convert(source, tmp_path / 'again', num_shards=32, **options)
    assert _load(tmp_path / 'again' / 'seq') == _load(tmp_path / 'out' / 'seq')
    kitti.convert(source, tmp_path / 'other', num_shards=32, seed=1, **options)
    assert _folds(tmp_path / 'other' / 'seq') != folds


def test_several_sequences(folder, tmp_path):
    for name in ('day1', 'day2', 'day3'):
        folder(f'data/{name}', 4)
    (tmp_path / 'list.txt').write_text('day2\nday1\n\nday3\n')
    options = dict(data_root=tmp_path / 'data', num_shards=2)
    kitti.convert(tmp_path / 'list.txt', tmp_path / 'out', **options)
    ids = [image['id'] for name in ('day2', 'day1', 'day3') for data in _load(tmp_path / 'out' / name).values()
           for image in data['images']]
    assert sorted(ids) == list(range(1, 13)) and set(ids[:4]) == {1, 2, 3, 4}
    (tmp_path / 'paths.txt').write_text(f'{tmp_path}/data/day2\n{tmp_path}/data/day1\n{tmp_path}/data/day3')
    kitti.convert(tmp_path / 'paths.txt', tmp_path / 'same', num_shards=2)
    assert all(_load(tmp_path / 'same' / name) == _load(tmp_path / 'out' / name) for name in ('day1', 'day2', 'day3'))
    kitti.convert(tmp_path / 'list.txt', tmp_path / 'whole', num_partitions=2, partition_mode='sequence', val_split=34,
                  **options)
    folds = [_folds(tmp_path / 'whole' / name) for name in ('day1', 'day2', 'day3')]
    assert all(len(fold) == 1 for fold in folds)
    assert sorted(name.split('fold-')[1] for fold in folds for name in fold) == ['000-of-002', *['001-of-002'] * 2]


def test_a_stopped_run_leaves_whole_files_and_can_be_repeated(folder, tmp_path, monkeypatch):
    source, write, written = folder('seq', 20), kitti.write_coco_json, []

    def stop(path, **records):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, **records)
    monkeypatch.setattr(kitti, 'write_coco_json', stop)
    with pytest.raises(KeyboardInterrupt):
        kitti.convert(source, tmp_path / 'out', num_shards=5)
    assert len(_load(tmp_path / 'out' / 'seq')) == len(list((tmp_path / 'out' / 'seq').iterdir())) == 3
    monkeypatch.undo()
    first = kitti.convert(source, tmp_path / 'out', num_shards=5)
    files = _load(tmp_path / 'out' / 'seq')
    again = kitti.convert(source, tmp_path / 'out', num_shards=5)
    assert _load(tmp_path / 'out' / 'seq') == files and len(files) == 5 and first == again
    with pytest.raises(ValueError, match=r'holds 5 files of another conversion \(first seq-shard-00000'):
        kitti.convert(source, tmp_path / 'out', num_shards=4)


def test_a_turned_photo_has_the_size_that_the_loader_shows(folder, tmp_path):
    source = folder('seq', 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30)).save(source / 'images' / '0000.jpg', exif=exif)
    kitti.convert(source, tmp_path / 'out', num_shards=0)
    assert CocoJson.load(tmp_path / 'out' / 'seq' / 'seq.json').images.sizes.tolist() == [[40, 30]]


def test_other_names_and_missing_labels(folder, tmp_path):
    source = folder('seq', 2, '.png')
    (source / 'images').rename(source / 'image_2')
    (source / 'labels').rename(source / 'label_2')
    (source / 'label_2' / '0001.txt').unlink()
    done = kitti.convert(source, tmp_path / 'out', image_dir_name='image_2', label_dir_name='label_2',
                         image_extension='.PNG', num_shards=1)
    assert done.images == 2 and done.annotations == 4
    assert len(done.skipped) == 1 and '0001.png: there is no label file' in done.skipped[0]


@pytest.mark.parametrize(('options', 'error', 'message'), [
    (dict(num_shards=-1), ValueError, 'num_shards=-1'), (dict(num_partitions=0), ValueError, 'num_partitions=0'),
    (dict(partition_mode='odd'), ValueError, "'odd': allowed are random, sequence"),
    (dict(val_split=10), ValueError, 'val_split=10 .* needs num_partitions=2'),
    (dict(num_partitions=2, val_split=1), ValueError, 'partition 0 of 2 would be empty'),
    (dict(category_order='up'), ValueError, "'up': allowed are reverse, given"),
    (dict(category_order='given'), ValueError, 'order of mapping, and there is none'),
    (dict(mapping={'dog': 3}), ValueError, "'dog' has the target 3"),
    (dict(mapping={'dog': None}), ValueError, 'there is no class'),
    (dict(mapping={'Big Dog': 'a', 'big_dog': 'b'}), ValueError, "two targets, 'a' and 'b'"),
    (dict(image_dir_name='pictures'), FileNotFoundError, r'pictures does not exist .*holds images, labels'),
    (dict(label_dir_name='truth'), FileNotFoundError, 'truth does not exist; set label_dir_name'),
    (dict(image_extension='.tif'), FileNotFoundError, r'endings found: \.jpg'),
    (dict(mapping='nowhere.json'), FileNotFoundError, r'nowhere\.json')])
def test_errors(options, error, message, folder, tmp_path):
    with pytest.raises(error, match=message):
        kitti.convert(folder('seq', 4), tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('text', 'error', 'message'), [
    ('', ValueError, 'lists no sequence'),
    ('nowhere', FileNotFoundError, 'the folder nowhere does not exist; data_root'),
    ('a/seq\nb/seq', ValueError, "two sequences of the name 'seq'")])
def test_bad_lists(text, error, message, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder('a/seq', 1)
    folder('b/seq', 1)
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(error, match=message):
        kitti.convert('list.txt', 'out')
    with pytest.raises(FileNotFoundError, match=r'list of sequences .*lists\.txt .*did you mean list\.txt'):
        kitti.convert('lists.txt', 'out')


def test_command_line(folder, tmp_path, capsys):
    (tmp_path / 'mapping.json').write_text(json.dumps(MAPPING))
    code = main(['kitti', str(folder('seq', 6)), str(tmp_path / 'out'), '--num-shards', '2', '--num-partitions', '2',
                 '--mapping', str(tmp_path / 'mapping.json')])
    assert code == 0 and len(_load(tmp_path / 'out' / 'seq')) == 4
    printed = capsys.readouterr()
    assert '(4 files): 6 images, 12 annotations (person 6, bag 6)' in printed.out
    assert "class 'dog' (2 objects) is not in the mapping" in printed.err
