"""The data parts of shipped configs: they are built and read, drawn pictures standing in for COCO and ADE20K."""
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from maskforge.config import check_keys, load_config
from maskforge.datasets.converters import ade20k
from maskforge.datasets.synthetic import draw_shapes
from maskforge.registry import DATA_SAMPLERS, DATASETS, METRICS
from maskforge.structures import PanopticSegmentation, seeded_sample

BASES = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'
SCENES = ('ade20k_semantic', 'coco_instance_lsj', 'coco_panoptic', 'coco_panoptic_lsj', 'shapes_panoptic',
          'shapes_semantic')
COCO = {'annotations/instances_train.json': 'annotations/instances_train2017.json',
        'annotations/instances_val.json': 'annotations/instances_val2017.json',
        'annotations/panoptic_train.json': 'annotations/panoptic_train2017.json',
        'annotations/panoptic_val.json': 'annotations/panoptic_val2017.json',
        'train': 'train2017', 'val': 'val2017', 'panoptic_train': 'annotations/panoptic_train2017',
        'panoptic_val': 'annotations/panoptic_val2017'}
ADE = {'train': 'images/training', 'val': 'images/validation', 'semantic_train': 'annotations/training',
       'semantic_val': 'annotations/validation'}


@pytest.fixture(scope='module')
def roots(tmp_path_factory) -> dict[str, Path]:
    """Drawn pictures in the layouts of the data sets, by the first word of the config."""
    shapes = tmp_path_factory.mktemp('shapes')
    draw_shapes(shapes, num_train=3, num_val=3, size=64, panoptic=True, semantic=True)
    roots = dict(shapes=shapes, coco=tmp_path_factory.mktemp('coco'), ade20k=tmp_path_factory.mktemp('ade'))
    for name, layout in (('coco', COCO), ('ade20k', ADE)):
        for source, target in layout.items():
            (roots[name] / target).parent.mkdir(exist_ok=True)
            copy = shutil.copytree if (shapes / source).is_dir() else shutil.copy
            copy(shapes / source, roots[name] / target)
    for split in ('training', 'validation'):
        ade20k.convert(roots['ade20k'], roots['ade20k'] / f'{split}.jsonl', split=split, classes=list('abcdefg'),
                       label_map=roots['ade20k'] / 'classes.json')
    return roots


@pytest.fixture
def cfg(request, roots) -> Config:
    config = load_config(BASES / f'{request.param}.py')
    root = config.data_root
    text = config.pretty_text.replace(root, f'{roots[request.param.split("_")[0]]}/')
    return Config.fromstring(text, '.py')


@pytest.mark.parametrize('name', [path.stem for path in sorted(BASES.glob('*.py'))])
def test_evaluation_sees_every_image_once(name):
    config = load_config(BASES / f'{name}.py')
    assert [str(finding) for finding in check_keys(config)] == []
    for loader in (config.val_dataloader, config.test_dataloader):
        assert not loader.get('drop_last', False) and loader.dataset.test_mode
        assert loader.sampler.round_up is False and loader.sampler.shuffle is False
        assert DATA_SAMPLERS.get(loader.sampler.type)
    assert METRICS.get(config.val_evaluator.type) and METRICS.get(config.test_evaluator.type)


@pytest.mark.parametrize('cfg', SCENES, indirect=True, ids=SCENES)
def test_samples(cfg):
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        data, training = DATASETS.build(loader.dataset), loader is cfg.train_dataloader
        assert len(data) == 3 and len(data.metainfo['classes']) in (5, 7)
        for index in range(3):
            with seeded_sample(index):
                sample = data[index]
            truth = sample['data_samples'].gt_instances
            assert len(truth.masks) == len(truth.labels) > 0 or training
            assert truth.masks.to_tensor().shape == (len(truth), *sample['inputs'].shape[1:])
            assert (truth.masks._pixels is not None) == training  # drawn in the worker
            assert truth.masks.areas().all()
            assert training or sample['data_samples'].ori_shape == (64, 64)
    assert len(pseudo_collate([data[0], data[1]])['inputs']) == 2


@pytest.mark.parametrize(('cfg', 'side'), [('coco_instance_lsj', 1024), ('coco_panoptic_lsj', 1024),
                                           ('ade20k_semantic', 512)], indirect=['cfg'])
def test_training_inputs_have_one_size(cfg, side):
    data = DATASETS.build(cfg.train_dataloader.dataset)
    with seeded_sample(0):
        assert data[0]['inputs'].shape == (3, side, side)


@pytest.mark.parametrize('cfg', SCENES, indirect=True, ids=SCENES)
def test_perfect_predictions_score_one(cfg):
    settings = cfg.val_dataloader.dataset
    settings.pipeline = [step for step in settings.pipeline if step.type not in ('Resize', 'SegmentationTestTransform')]
    data, metric = DATASETS.build(settings), METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = data.metainfo
    for index in range(len(data)):
        sample = data[index]['data_samples']
        truth, masks = sample.gt_instances, sample.gt_instances.masks
        owners = np.zeros(sample.ori_shape, np.int32)
        for k, mask in enumerate(masks.to_bitmaps(), 1):
            owners[mask] = k
        classes = np.concatenate([[255], truth.labels.numpy()])[owners]
        ones = np.ones(len(truth), np.float32)
        metric.process({}, [dict(
            sample.metainfo, pred_sem_seg=dict(sem_seg=classes[None].astype(np.uint8)),
            pred_panoptic=PanopticSegmentation(owners, truth.labels.numpy(), ones),
            pred_instances=dict(bboxes=masks.bboxes(), scores=ones, labels=truth.labels, masks=masks))])
    scores = metric.evaluate(len(data))
    wanted = ('coco_panoptic/PQ', 'coco/segm_mAP_50', 'mIoU')
    assert [value for key, value in scores.items() if key in wanted] == [pytest.approx(1)]
