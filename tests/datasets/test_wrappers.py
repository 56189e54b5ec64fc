import numpy as np
import pytest
from torch.utils.data import Dataset

from maskforge.datasets import ClassBalancedDataset, ConcatDataset, MultiImageMixDataset, RepeatDataset
from maskforge.datasets import SyntheticShapesDataset as Shapes
from maskforge.registry import DATASETS


def _shapes(count=3, **settings):
    return Shapes(num_images=count, size=32, **settings)


def test_concat(drawn):
    config = dict(type='CocoDataset', data_root=str(drawn.root), ann_file=[str(p) for p in drawn.annotations.values()],
                  data_prefix=[dict(img='train/'), dict(img='val/')])
    data = DATASETS.build(dict(type='ConcatDataset', dataset=config))
    assert len(data) == 11 and data.metainfo['classes'] == drawn.classes
    assert [data[i]['img_path'].split('/')[-2] for i in (0, 7, 8, -1)] == ['train', 'train', 'val', 'val']
    assert data.image_sizes().shape == (11, 2) and data.broken_records() == []
    assert data.get_cat_ids(8) == data.datasets[1].get_cat_ids(0)


@pytest.mark.parametrize(('build', 'message'), [
    (lambda: ConcatDataset(), 'either datasets'),
    (lambda: ConcatDataset([]), 'empty list'),
    (lambda: ConcatDataset(dataset=dict(type='CocoDataset', ann_file='a')), 'no list'),
    (lambda: ConcatDataset(dataset=dict(type='CocoDataset', ann_file=['a', 'b'], data_root=['c'])), "'ann_file': 2"),
    (lambda: ConcatDataset([_shapes(), _shapes(metainfo=dict(classes=('star',)))]),
     r"datasets\[0\].*datasets\[1\].*differ in metainfo 'classes'"),
    (lambda: ConcatDataset([_shapes(), _shapes(metainfo=dict(year=3))]), r"ignore_keys=\['year'\] allows it"),
    (lambda: RepeatDataset(_shapes(), times=0), 'times=0'),
    (lambda: ClassBalancedDataset(_shapes(), oversample_thr=2), 'oversample_thr=2'),
    (lambda: MultiImageMixDataset(_shapes(), [lambda r: r], skip_type_keys=['Mosaic']), "'Mosaic'")])
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_not_a_dataset():
    with pytest.raises(TypeError, match="got 'CocoDataset'"):
        RepeatDataset('CocoDataset', times=2)


def test_keys_can_be_ignored_and_wrappers_nested():
    data = ConcatDataset([RepeatDataset(_shapes(), times=2), _shapes(metainfo=dict(year=3))], ignore_keys='year')
    assert [data[i]['img_id'] for i in range(9)] == [0, 1, 2] * 3
    assert data.image_sizes().tolist() == [[32, 32]] * 9


def test_lazy_init():
    data = RepeatDataset(dict(type='SyntheticShapesDataset', num_images=2, size=32, lazy_init=True), 3, lazy_init=True)
    assert not data.datasets[0]._fully_initialized and len(data) == 6


class _Labels(Dataset):
    """A user's own data set: labels only."""

    metainfo = dict(classes=('a', 'b'))

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return index

    def get_cat_ids(self, index):
        return self.labels[index]


def test_repeat_factors():
    # class 0 in 8 of 10 images, class 1 in 1 of 10: sqrt(0.4 / 0.1) = 2
    data = ClassBalancedDataset(_Labels([[0]] * 7 + [[0, 1], [], []]), oversample_thr=0.4)
    assert data.repeat_factors().tolist() == [1] * 7 + [2, 1, 1]
    assert [data[i] for i in range(len(data))] == [0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9]
    assert ClassBalancedDataset(_Labels([[0]] * 9 + [[1]]), oversample_thr=0.3).repeat_factors()[-1] == np.sqrt(3)


class _Mix:
    def __init__(self, fails=0):
        self.fails = fails

    def get_indexes(self, dataset):
        return [1, 2]

    def __call__(self, results):
        self.fails -= 1
        if self.fails >= 0:
            return None
        results['partners'] = [partner['img_id'] for partner in results['mix_results']]
        return results


def test_mixing():
    data = MultiImageMixDataset(_shapes(), [_Mix(fails=2)])
    assert data[0]['partners'] == [1, 2] and 'mix_results' not in data[0]
    with pytest.raises(ValueError, match='_Mix gave None 15 times'):
        MultiImageMixDataset(_shapes(), [_Mix(fails=99)])[0]
    skipping = MultiImageMixDataset(_shapes(), [_Mix()], skip_type_keys=['_Mix'])
    assert 'partners' not in skipping[0]


def test_copy_paste_through_the_wrapper():
    own = [dict(type='LoadAnnotations', with_mask=True)]
    data = MultiImageMixDataset(_shapes(pipeline=own), [dict(type='CopyPaste', selected=False)])
    sample = data[0]
    assert len(sample['gt_masks']) == len(sample['gt_bboxes']) == len(sample['gt_bboxes_labels'])
