"""Data sets of several sources: files, ids, classes, label rows, and what the metric makes of them."""
import copy
import json
import multiprocessing
import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.datasets import CocoDataset, CocoSourcesDataset, ConcatDataset, ImageFolderDataset
from maskforge.engine.class_count import check_class_count
from maskforge.evaluation import CocoMetric
from maskforge.formats.category_rows import is_unused_row
from maskforge.registry import DATASETS
from maskforge.structures import DetDataSample

NAMES = {1: 'cat', 3: 'dog'}


def _coco(images, *, names=NAMES, first=0, prefix=''):
    """Images of 40 x 30 with one object of every class each."""
    records = [dict(id=first + i, file_name=f'{prefix}{i}.jpg', height=30, width=40) for i in range(images)]
    boxes = [dict(image_id=record['id'], category_id=category, bbox=[2 + 3 * i, 2 * category, 20, 10])
             for i, record in enumerate(records) for category in names]
    return dict(images=records, annotations=[dict(box, id=i) for i, box in enumerate(boxes, 1)],
                categories=[dict(id=i, name=name) for i, name in names.items()])


@pytest.fixture
def root(tmp_path):
    """Source a in three shards, source b in one file whose image ids are those of the first shard."""
    for name, data in {'a/s-0': _coco(2, prefix='a'), 'a/s-1': _coco(1, first=2, prefix='b'),
                       'a/s-2': _coco(3, first=3, prefix='c'), 'b': _coco(2, prefix='d')}.items():
        path = tmp_path / 'annotations' / f'{name}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
    return tmp_path


SOURCES = [dict(image_dir='one', json_file='annotations/a/*'), dict(image_dir='two', json_file='annotations/b.json')]


def _build(root, sources=SOURCES, **settings):
    return DATASETS.build(dict(type='CocoSourcesDataset', data_sources=sources, data_root=str(root), **settings))


@pytest.mark.parametrize('dataset_type', ['serialized', 'default'])
def test_sources_follow_each_other(dataset_type, root):
    data = _build(root, dataset_type=dataset_type)
    names = [os.path.relpath(data.get_data_info(i)['img_path'], root) for i in range(len(data))]
    assert names == ['one/a0.jpg', 'one/a1.jpg', 'one/b0.jpg', 'one/c0.jpg', 'one/c1.jpg', 'one/c2.jpg', 'two/d0.jpg',
                     'two/d1.jpg']
    assert [data.get_data_info(i)['img_id'] for i in range(8)] == [0, 1, 2, 3, 4, 5, 6, 7]  # the last two are new
    assert data.metainfo['classes'] == ('cat', 'dog') and data.metainfo['category_ids'] == (1, 3)
    assert data.record_origins().tolist() == [[0, 0], [0, 0], [0, 1], *[[0, 2]] * 3, *[[1, 3]] * 2]
    assert data.image_sizes().tolist() == [[30, 40]] * 8 and data.get_cat_ids(-1) == [0, 1]
    assert data.get_data_info(-1)['sample_idx'] == 7
    assert data.serialize_data == (dataset_type == 'serialized')


@pytest.mark.parametrize('dataset_type', ['serialized', 'default'])
def test_subsets_filters_and_copies(dataset_type, root):
    data = _build(root, dataset_type=dataset_type, indices=[7, 0])
    assert data.record_origins().tolist() == [[1, 3], [0, 0]]
    whole = _build(root, dataset_type=dataset_type)
    subset = whole.get_subset([3, 6])
    assert subset.record_origins().tolist() == [[0, 2], [1, 3]] and subset.get_data_info(1)['img_id'] == 6
    for other in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        assert other.get_data_info(7) == whole.get_data_info(7)
        assert other.record_origins().tolist() == whole.record_origins().tolist()
    data = _build(root, metainfo=dict(classes=('dog',)), filter_cfg=dict(filter_empty_gt=True))
    assert len(data) == 8 and data.get_cat_ids(0) == [0] and data.metainfo['category_ids'] == (3,)


def test_one_source_and_lists_of_files(root):
    files = [str(root / 'annotations/a/s-2.json'), str(root / 'annotations/a/*.json')]
    data = CocoSourcesDataset(dict(image_dir=str(root / 'one'), json_file=files))
    assert [data.get_data_info(i)['img_id'] for i in range(6)] == [3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize(('sources', 'error', 'message'), [
    ([], ValueError, r'data_sources is empty; at least one dict\(image_dir=\.\.\., json_file=\.\.\.\)'),
    ([dict(image_dir='one')], ValueError, r"data_sources\[0\] is \{'image_dir': 'one'\}"),
    ([dict(image_dir='one', json_file=[])], ValueError, 'list of annotation files is empty'),
    (dict(image_dir='one', json_file='annotations/c/*'), FileNotFoundError, r'matches .*c/\* .*does not exist'),
    (dict(image_dir='one', json_file='annotations/*.txt'), FileNotFoundError, r'has 1 JSON files'),
    (dict(image_dir='one', json_file='annotations/bb.json'), FileNotFoundError, r'did you mean b\.json')])
def test_bad_sources(sources, error, message, root):
    with pytest.raises(error, match=message):
        _build(root, sources)


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(dataset_type='shared'), "'shared': allowed are serialized, default"),
    (dict(ann_file='a.json'), 'ann_file is not set; data_sources'),
    (dict(serialize_data=False), 'serialize_data is not set'),
    (dict(label_mode='id'), "'id': allowed are contiguous, category_id"),
    (dict(num_classes=5), "num_classes=5 .* needs label_mode='category_id'"),
    (dict(label_mode='category_id', num_classes=3), r'category id 3 \(dog\) does not fit into num_classes=3')])
def test_bad_settings(settings, message, root):
    with pytest.raises(ValueError, match=message):
        _build(root, **settings)


@pytest.mark.parametrize(('names', 'message'), [
    ({1: 'cat', 3: 'cow'}, r"id 3 has the name 'dog' in one and 'cow'"),
    ({1: 'cat', 4: 'dog'}, r"name 'dog' has the id 3 in one and 4")])
def test_contradicting_categories(names, message, root):
    (root / 'annotations/b.json').write_text(json.dumps(_coco(1, names=names)))
    with pytest.raises(ValueError, match=rf'a/s-0\.json and .*b\.json contradict each other: {message}'):
        _build(root)


def test_a_category_that_one_source_lacks(root, caplog):
    (root / 'annotations/b.json').write_text(json.dumps(_coco(1, names={3: 'dog', 9: 'emu'})))
    data = _build(root)
    assert data.metainfo['classes'] == ('cat', 'dog', 'emu') and data.get_cat_ids(6) == [1, 2]


@pytest.mark.parametrize(('settings', 'rows'), [({}, 4), (dict(num_classes=91), 91)])
def test_one_row_per_category_id(settings, rows, root):
    data = _build(root, label_mode='category_id', **settings)
    classes = data.metainfo['classes']
    assert data.get_cat_ids(0) == [1, 3] and len(classes) == rows == len(data.metainfo['palette'])
    assert data.metainfo['category_ids'] == tuple(range(rows)) and (classes[1], classes[3]) == ('cat', 'dog')
    assert sum(map(is_unused_row, classes)) == rows - 2
    single = CocoDataset(ann_file=str(root / 'annotations/b.json'), label_mode='category_id', **settings)
    assert single.metainfo['classes'] == classes and len(ConcatDataset([data, single])) == 10
    chosen = _build(root, label_mode='category_id', metainfo=dict(classes=('dog',)))
    assert chosen.get_cat_ids(0) == [3] and chosen.metainfo['classes'][:2] == ('unused_0', 'unused_1')


class _Head(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


def test_class_count_is_checked(root):
    check_class_count(_Head(2), _build(root).metainfo, 'train_dataloader.dataset')
    check_class_count(_Head(4), _build(root, label_mode='category_id').metainfo, 'train_dataloader.dataset')
    with pytest.raises(ValueError, match=r'model.num_classes=91, but train_dataloader.dataset has 4 classes'):
        check_class_count(_Head(91), _build(root, label_mode='category_id').metainfo, 'train_dataloader.dataset')


def _predict(data, index, shift=0.0):
    """A perfect prediction, in dict form."""
    record = data.get_data_info(index)
    boxes = torch.tensor([i['bbox'] for i in record['instances']]).float() + shift
    sample = DetDataSample(metainfo=dict(img_id=record['img_id'], img_path=record['img_path'], ori_shape=(30, 40)))
    sample.pred_instances = InstanceData(bboxes=boxes, scores=torch.full((len(boxes),), 0.9),
                                         labels=torch.tensor([i['bbox_label'] for i in record['instances']]))
    return sample.to_dict()


@pytest.mark.parametrize('label_mode', ['contiguous', 'category_id'])
def test_evaluation_over_sources_that_share_ids(label_mode, root):
    data = _build(root, label_mode=label_mode, test_mode=True)
    metric = CocoMetric(ann_file=[str(root / 'annotations/a/*'), str(root / 'annotations/b.json')], classwise=True,
                        outfile_prefix=root / 'results')
    metric.dataset_meta = data.metainfo
    metric.process(None, [_predict(data, i, shift=9.0 if i == 7 else 0.0) for i in range(8)])
    scores = metric.evaluate(8)
    assert 0.8 < scores['coco/bbox_mAP'] < 0.9  # seven of eight images are right
    assert {key for key in scores if key.endswith('_precision')} == {'coco/cat_precision', 'coco/dog_precision'}
    written = json.loads((root / 'results.bbox.json').read_text())
    assert {row['category_id'] for row in written} == {1, 3} and {row['image_id'] for row in written} == set(range(8))


def test_metric_notices_another_order(root):
    data = _build(root, test_mode=True)
    metric = CocoMetric(ann_file=[str(root / 'annotations/b.json'), str(root / 'annotations/a/*')])
    metric.dataset_meta = data.metainfo
    metric.process(None, [_predict(data, i) for i in range(8)])
    with pytest.raises(ValueError, match=r"a0\.jpg for the data set and d0\.jpg .*data set's order"):
        metric.evaluate(8)


@pytest.mark.parametrize(('files', 'error'), [('nowhere/*', FileNotFoundError), ([], ValueError)])
def test_metric_without_files(files, error):
    with pytest.raises(error, match=r'CocoMetric\.ann_file: '):
        CocoMetric(ann_file=files)


def _read(data, index, queue):
    queue.put((data.get_data_info(index)['img_id'], data._shared.address()[2]))


@pytest.mark.skipif(not hasattr(os, 'memfd_create'), reason='needs Linux')
@pytest.mark.parametrize('method', ['spawn', 'fork', 'forkserver'])
def test_processes_get_the_same_memory(method, root):
    data, context = _build(root), multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_read, args=(data, 6, queue))
    process.start()
    assert queue.get(timeout=60) == (6, data._shared.address()[2])
    process.join()


def test_shared_records_name_no_code(root):
    data = _build(root)
    data._use_shared()
    evil = pickle.dumps(print)
    data.data_bytes, data.data_address = np.frombuffer(evil, np.uint8), np.array([len(evil)])
    with pytest.raises(pickle.UnpicklingError, match='could run code'):
        data.get_data_info(0)


RANKS = '''
import sys
from mmengine.dist import all_gather_object, get_rank
from torch.distributed import init_process_group
from maskforge.datasets import CocoSourcesDataset
import maskforge.formats.coco_files as coco_files
init_process_group('gloo')
reads, load = [], coco_files.CocoJson.load
coco_files.CocoJson.load = lambda path, **options: (reads.append(path), load(path, **options))[1]
try:
    data = CocoSourcesDataset(dict(image_dir='x', json_file=sys.argv[1]), pipeline=[])
    found = (len(data), data.metainfo['classes'], data.get_data_info(3)['img_id'], data.record_origins().tolist(),
             data.image_sizes().tolist(), data.data_bytes.sum())
    every = all_gather_object((found, len(reads), data._shared.address()[2]))
    if get_rank() == 0:
        print('RESULT', every[0][0] == every[1][0], [one[1] for one in every], every[0][2] == every[1][2])
except ValueError as error:
    print(f'REFUSED {error}')
'''


@pytest.mark.skipif(not hasattr(os, 'memfd_create'), reason='needs Linux')
@pytest.mark.parametrize('broken', [False, True])
def test_one_rank_reads_for_the_machine(broken, root):
    if broken:
        (root / 'annotations/a/s-1.json').write_text('{"images": [')
    (root / 'ranks.py').write_text(RANKS)
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', str(root / 'ranks.py'),
         str(root / 'annotations/a/*')], env=dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1'),
        capture_output=True, text=True, timeout=120, check=False)
    if broken:
        assert done.stdout.count('REFUSED') == 2 and done.stdout.count('s-1.json is not valid JSON') == 2, done.stderr
    else:
        assert 'RESULT True [3, 0] True' in done.stdout, done.stdout + done.stderr[-3000:]


@pytest.fixture
def folders(tmp_path):
    for name in ('one/b.png', 'one/deep/a.jpg', 'two/c.jpg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((30, 40, 3), np.uint8))
    (tmp_path / 'classes.txt').write_text('cat\ntraffic light\n\n')
    return tmp_path


def test_image_folder(folders):
    source = dict(image_dir=['two', 'one'], classmap='classes.txt')
    data = ImageFolderDataset(source, data_root=str(folders), pipeline=[dict(type='LoadImageFromFile')])
    assert [data[i]['img_path'].rpartition('/')[2] for i in range(3)] == ['c.jpg', 'b.png', 'a.jpg']
    assert data.metainfo['classes'] == ('cat', 'traffic light') and data.metainfo['category_ids'] == (1, 2)
    rows = ImageFolderDataset(source, data_root=str(folders), label_mode='category_id')
    assert rows.metainfo['classes'] == ('unused_0', 'cat', 'traffic light')
    with pytest.raises(ValueError, match=r'model\.num_classes=91, but test_dataloader.dataset has 3 classes'):
        check_class_count(_Head(91), rows.metainfo, 'test_dataloader.dataset')


@pytest.mark.parametrize(('text', 'source', 'error', 'message'), [
    ('', {}, ValueError, 'class map .* it is empty'), ('cat\n\ndog', {}, ValueError, 'line 2 is empty'),
    ('cat\ncat', {}, ValueError, "'cat' twice"), ('cat', dict(classmap='none.txt'), FileNotFoundError, 'class map'),
    ('cat', dict(image_dir='three'), FileNotFoundError, 'three does not exist')])
def test_image_folder_errors(text, source, error, message, folders):
    (folders / 'classes.txt').write_text(text)
    with pytest.raises(error, match=message):
        ImageFolderDataset({**dict(image_dir='one', classmap='classes.txt'), **source}, data_root=str(folders))


def test_small_boxes(tmp_path):
    data = _coco(1)
    data['annotations'][0]['bbox'] = [1, 1, 0.5, 9]
    (tmp_path / 'a.json').write_text(json.dumps(data))
    assert CocoDataset(ann_file=str(tmp_path / 'a.json')).get_cat_ids(0) == [1]
    assert CocoDataset(ann_file=str(tmp_path / 'a.json'), min_box_side=0).get_cat_ids(0) == [0, 1]
