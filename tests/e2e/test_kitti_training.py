"""A KITTI folder to shards, and training from the shards with each sampler on two processes.

The pictures are drawn; MASKFORGE_DATA may name a folder with ``coco128``, which is then converted as well.
"""
import json
import os
import random
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from commands import run, tool
from kitti_folders import write_kitti_folder

from maskforge.datasets import CocoSourcesDataset
from maskforge.datasets.synthetic import draw_shapes
from maskforge.formats import CocoJson

DATA = os.environ.get('MASKFORGE_DATA', '')


@pytest.fixture(scope='module', params=['drawn', 'coco128'])
def converted(request, tmp_path_factory):
    """The source's annotations and the folder of the shards."""
    root = tmp_path_factory.mktemp('kitti')
    if request.param == 'drawn':
        drawn = draw_shapes(root / 'shapes', num_train=100, num_val=1, size=64)
        source = write_kitti_folder(root / 'seq', drawn.annotations['train'], drawn.images['train'])
    elif DATA:
        folder = Path(DATA) / 'coco128'
        source = write_kitti_folder(root / 'seq', folder / 'instances_train.json', folder / 'images')
    else:
        pytest.skip('MASKFORGE_DATA is not set')
    (root / 'list.txt').write_text(f'{root}/seq\n')
    _convert(root, 'shards')
    return source, root


def _convert(root, name):
    tool('dataset_converters/kitti.py', root / 'list.txt', root / name, '--num-shards', '32', '--num-partitions', '2')


def _files(root, name):
    return {path.relative_to(root / name): path.read_bytes() for path in (root / name).rglob('*') if path.is_file()}


def test_the_shards_together_are_the_input(converted):
    source, root = converted
    data = CocoSourcesDataset(dict(image_dir=str(root), json_file=str(root / 'shards/seq/*')))
    assert len(np.unique(data.record_origins()[:, 1])) == 64 and len(data) == len(source)
    found = {}
    for index in range(len(data)):
        record = data.get_data_info(index)
        assert Path(record['img_path']).is_file()
        found[Path(record['img_path']).name] = sorted(
            [data.metainfo['classes'][one['bbox_label']], *np.round(one['bbox'], 2)] for one in record['instances'])
    names = dict(zip(source.category_ids.tolist(), source.category_names))
    for image, objects in source:
        wanted = [[names[one['category_id']].replace(' ', '_'), *_corners(one['bbox'], image)] for one in objects
                  if not one['iscrowd']]
        assert len(found[image['file_name']]) == len(wanted)
        for mine, theirs in zip(found[image['file_name']], sorted(wanted)):
            assert mine[0] == theirs[0] and np.abs(np.array(mine[1:]) - theirs[1:]).max() < 0.02
    assert data.metainfo['classes'] == tuple(sorted(data.metainfo['classes'], reverse=True))


def _corners(box, image):
    x, y, width, height = box
    return np.clip([x, y, x + width, y + height], 0, [image['width'], image['height']] * 2).tolist()


def test_twice_the_same(converted):
    _, root = converted
    _convert(root, 'again')
    assert _files(root, 'again') == _files(root, 'shards')


SCRIPT = textwrap.dedent('''
    import json, sys
    from mmengine.dist import get_rank
    from mmengine.hooks import Hook
    from maskforge.engine import Runner
    from maskforge.registry import HOOKS

    @HOOKS.register_module()
    class WriteDown(Hook):
        seen = []

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            assert outputs['loss'].isfinite()
            self.seen.append([sample.img_id for sample in data_batch['data_samples']])

        def after_train(self, runner):
            with open(f'{runner.work_dir}/rank{get_rank()}.json', 'w') as file:
                json.dump(self.seen, file)

    root, work_dir, sampler, dataset_type = sys.argv[1:5]
    files = sorted(__import__('glob').glob(f'{root}/shards/seq/*-fold-001-*.json'))
    sources = [dict(image_dir=root, json_file=files[:24]), dict(image_dir=root, json_file=files[24:])]
    model = dict(
        type='DeformableDETR', num_classes=int(sys.argv[5]) + 1, hidden_dim=32, nheads=4, enc_layers=1, dec_layers=2,
        dim_feedforward=48, num_queries=10, enc_n_points=2, dec_n_points=2,
        backbone=dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='FrozenBN')),
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[120.0], std=[60.0], bgr_to_rgb=True))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                dict(type='DETRTrainTransform', scales=[64, 96], random_resize_max_size=128, fixed_padding=True,
                     train_random_resize=[64], train_random_crop_min=40, train_random_crop_max=64),
                dict(type='PackDetInputs')]
    Runner.from_cfg(dict(
        model=model, work_dir=work_dir, launcher='pytorch', default_scope='maskforge', visualizer=None,
        env_cfg=dict(dist_cfg=dict(backend='gloo')), randomness=dict(seed=3),
        train_cfg=dict(by_epoch=True, max_epochs=2), custom_hooks=[dict(type='WriteDown')],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001)),
        train_dataloader=dict(batch_size=4, num_workers=1, drop_last=True, sampler=dict(type=sampler), dataset=dict(
            type='CocoSourcesDataset', data_sources=sources, dataset_type=dataset_type, pipeline=pipeline,
            label_mode='category_id')))).train()
''')


@pytest.mark.parametrize(('sampler', 'dataset_type'), [
    pytest.param('default_sampler', 'serialized', marks=pytest.mark.slow), ('uniform_sampler', 'default'),
    pytest.param('non_uniform_sampler', 'serialized', marks=pytest.mark.slow)])
def test_training_on_two_processes(sampler, dataset_type, converted, tmp_path):
    source, root = converted
    if len(source.category_names) > 10:
        pytest.skip('the drawn pictures are enough')
    (tmp_path / 'script.py').write_text(SCRIPT)
    run(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
        f'--master_port={random.randint(20000, 30000)}', tmp_path / 'script.py', root, tmp_path, sampler, dataset_type,
        str(len(source.category_names)))
    ranks = [json.loads((tmp_path / f'rank{rank}.json').read_text()) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == 2 * 6  # 50 images, two processes, batches of 4, two epochs
    shares = [{image for batch in seen for image in batch} for seen in ranks]
    file_of = {}
    for number, path in enumerate(sorted((root / 'shards/seq').glob('*-fold-001-*.json'))):
        file_of.update(dict.fromkeys(CocoJson.load(path).images.ids.tolist(), number))
    assert all(len(share) > 15 and share <= set(file_of) for share in shares)
    drawn = [file_of[image] for seen in ranks for batch in seen for image in batch]
    if sampler == 'non_uniform_sampler':
        assert [{file_of[image] % 2 for image in share} for share in shares] == [{0}, {1}]
    elif sampler == 'uniform_sampler':
        assert abs(sum(number < 24 for number in drawn) - len(drawn) / 2) <= 4
    else:
        assert len(shares[0] | shares[1]) == 50
