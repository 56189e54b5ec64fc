"""MMDetection 2.x keys."""

import logging

import pytest

from maskforge.config import load_config
from maskforge.config.lr_config import param_schedulers
from maskforge.config.old_keys import rename_old_keys

MODERN = """
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
train_dataloader = dict(batch_size=2, num_workers=2, dataset=dict(type='CocoDataset', data_root='data/coco/'))
val_dataloader = dict(batch_size=1, num_workers=2, dataset=dict(type='CocoDataset', data_root='data/coco/'))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric='bbox')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9))
default_hooks = dict(logger=dict(type='LoggerHook', interval=50), checkpoint=dict(type='CheckpointHook', interval=1))
param_scheduler = [dict(type='MultiStepLR', milestones=[8, 11])]
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
"""

CASES = [  # (old text, dotted new key, value, note)
    (
        'evaluation = dict(interval=12)',
        'train_cfg.val_interval',
        12,
        'evaluation.interval is now train_cfg.val_interval',
    ),
    ("evaluation = dict(metric=['bbox', 'segm'])", 'val_evaluator.metric', ['bbox', 'segm'], 'val_evaluator.metric'),
    ("evaluation = dict(save_best='bbox_mAP')", 'default_hooks.checkpoint.save_best', 'coco/bbox_mAP', 'save_best'),
    ("dist_params = dict(backend='nccl', port=29501)", 'env_cfg.dist_cfg.port', 29501, 'env_cfg.dist_cfg.port'),
    ("train = dict(distributed_strategy='fsdp')", 'strategy', 'fsdp', 'train.distributed_strategy is now strategy'),
    ("dist_params = dict(backend='gloo')", 'env_cfg.dist_cfg.backend', 'gloo', 'env_cfg.dist_cfg.backend'),
    (
        'optimizer = dict(lr=0.01)',
        'optim_wrapper.optimizer',
        dict(type='SGD', lr=0.01, momentum=0.9),
        'optimizer.lr is now optim_wrapper.optimizer.lr',
    ),
    ("optimizer = dict(type='AdamW', lr=1e-4)", 'optim_wrapper.optimizer', dict(type='AdamW', lr=1e-4), 'optimizer'),
    (
        'optimizer = dict(paramwise_cfg=dict(norm_decay_mult=0))',
        'optim_wrapper.paramwise_cfg',
        dict(norm_decay_mult=0),
        '',
    ),
    (
        'optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))',
        'optim_wrapper.clip_grad',
        dict(max_norm=35, norm_type=2),
        'optim_wrapper.clip_grad',
    ),
    ('optimizer_config = dict(grad_clip=None)', 'optim_wrapper.clip_grad', None, 'optim_wrapper.clip_grad'),
    (
        "optimizer_config = dict(type='GradientCumulativeOptimizerHook', cumulative_iters=4)",
        'optim_wrapper.accumulative_counts',
        4,
        '',
    ),
    ('fp16 = dict(loss_scale=512.)', 'optim_wrapper.type', 'AmpOptimWrapper', ''),
    ('data = dict(samples_per_gpu=4)', 'train_dataloader.batch_size', 4, 'train_dataloader.batch_size'),
    ('data = dict(workers_per_gpu=1)', 'val_dataloader.num_workers', 1, 'train_dataloader.num_workers'),
    (
        "data = dict(train=dict(ann_file='a.json', img_prefix='img/', classes=('x', 'y')))",
        'train_dataloader.dataset',
        dict(
            type='CocoDataset',
            data_root='',
            ann_file='a.json',
            data_prefix=dict(img='img/'),
            metainfo=dict(classes=('x', 'y')),
        ),
        'train_dataloader.dataset',
    ),
    ("data = dict(val=dict(ann_file='a.json'))", 'val_dataloader.dataset.data_root', 'data/coco/', ''),
    ('runner = dict(max_epochs=24)', 'train_cfg.max_epochs', 24, 'runner.max_epochs is now train_cfg.max_epochs'),
    (
        "runner = dict(type='IterBasedRunner', max_iters=90)",
        'train_cfg',
        dict(type='IterBasedTrainLoop', max_iters=90),
        '',
    ),
    ('total_epochs = 24', 'train_cfg.max_epochs', 24, 'total_epochs is now train_cfg.max_epochs'),
    ('checkpoint_config = dict(interval=3)', 'default_hooks.checkpoint', dict(type='CheckpointHook', interval=3), ''),
    ('log_config = dict(interval=10)', 'default_hooks.logger', dict(type='LoggerHook', interval=10), ''),
    (
        "log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])",
        'visualizer.vis_backends',
        [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
        '',
    ),
    ("CLASSES = ('a', 'b')", 'val_dataloader.dataset.metainfo.classes', ('a', 'b'), 'metainfo.classes'),
    ("default_scope = 'mmdet'", 'default_scope', 'maskforge', "default_scope='mmdet' is now 'maskforge'"),
    ("resume_from = 'epoch_3.pth'", 'load_from', 'epoch_3.pth', 'resume_from is now load_from'),
    ("resume_from = 'epoch_3.pth'", 'resume', True, ''),
    ('seed = 3', 'randomness.seed', 3, ''),
    ('cudnn_benchmark = True', 'env_cfg.cudnn_benchmark', True, ''),
    (
        "model = dict(pretrained='torchvision://resnet50', backbone=dict(type='ResNet'))",
        'model.backbone.init_cfg',
        dict(type='Pretrained', checkpoint='torchvision://resnet50'),
        'model.pretrained is now model.backbone.init_cfg',
    ),
    (
        "lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])",
        'param_scheduler',
        [
            dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
            dict(type='MultiStepLR', milestones=[8, 11], gamma=0.1, by_epoch=True, begin=0, end=12),
        ],
        '',
    ),
    ("workflow = [('train', 1)]", 'workflow', None, 'workflow is now not needed'),
]


def get(cfg, key):
    for part in key.split('.'):
        cfg = cfg.get(part)
    return cfg


@pytest.mark.parametrize(('text', 'key', 'value', 'note'), CASES)
def test_old_key(write, caplog, text, key, value, note):
    with caplog.at_level(logging.WARNING):
        cfg = load_config(write('a.py', f'{MODERN}\n{text}\n'))
    assert get(cfg, key) == value
    assert note in caplog.text and caplog.text


@pytest.mark.parametrize(
    ('option', 'key', 'value'),
    [
        ('dist_params.port=29501', 'env_cfg.dist_cfg.port', 29501),
        ('data.samples_per_gpu=4', 'train_dataloader.batch_size', 4),
        ('optimizer.lr=0.3', 'optim_wrapper.optimizer.lr', 0.3),
        ('evaluation.interval=12', 'train_cfg.val_interval', 12),
        ('runner.max_epochs=3', 'train_cfg.max_epochs', 3),
        ('total_epochs=3', 'train_cfg.max_epochs', 3),
        ('log_config.interval=5', 'default_hooks.logger.interval', 5),
        ('CLASSES=a,b', 'train_dataloader.dataset.metainfo.classes', ('a', 'b')),
        ('data.train.ann_file=x.json', 'train_dataloader.dataset.ann_file', 'x.json'),
    ],
)
def test_old_option(write, option, key, value):
    cfg = load_config(write('a.py', MODERN), options=[option])
    assert get(cfg, key) == value
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop' and cfg.optim_wrapper.optimizer.type == 'SGD'


def test_option_wins_over_old_key_of_the_file(write):
    path = write('a.py', f"{MODERN}\noptimizer = dict(lr=0.5)\nlr_config = dict(policy='step', step=[3])\n")
    cfg = load_config(path, options=['optim_wrapper.optimizer.lr=0.1', 'lr_config.step=[1,2]'])
    assert cfg.optim_wrapper.optimizer.lr == 0.1
    assert cfg.param_scheduler[0].milestones == [1, 2]


def test_first_of_several_evaluators(write):
    path = write(
        'a.py',
        f"{MODERN}\nval_evaluator = [dict(type='CocoMetric'), dict(type='VOCMetric')]\n"
        "evaluation = dict(metric='segm')\n",
    )
    assert load_config(path).val_evaluator == [dict(type='CocoMetric', metric='segm'), dict(type='VOCMetric')]


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (dict(workflow=[('train', 1), ('val', 1)]), 'workflow=.*val_interval.*remove workflow'),
        (dict(evaluation=dict(intervall=1)), r'evaluation\.intervall is an old key .*did you mean interval'),
        (dict(optimizer_config=dict(type='MyHook')), "optimizer_config.type='MyHook' has no equivalent"),
        (dict(data=dict(samples_pergpu=1)), r'data\.samples_pergpu .*did you mean samples_per_gpu'),
        (dict(runner=dict(type='MyRunner')), "runner.type='MyRunner' has no equivalent"),
        (dict(evaluation=3), 'evaluation is an old key and was a dict'),
        (dict(lr_config=dict(step=[3])), r'param_scheduler\.1\.milestones'),
        (dict(lr_config=dict(policy='step', stepp=[3])), r'lr_config\.stepp .*did you mean step'),
        (dict(lr_config=dict(policy='step', step=[3], warmup='odd')), 'use linear or constant'),
    ],
)
def test_without_equivalent(values, message):
    with pytest.raises(ValueError, match=message):
        rename_old_keys(values)


@pytest.mark.parametrize(
    ('old', 'expected'),
    [
        (
            dict(policy='CosineAnnealing', min_lr_ratio=0.1),
            [dict(type='CosineAnnealingLR', eta_min_ratio=0.1, T_max=12, by_epoch=True, begin=0, end=12)],
        ),
        (
            dict(policy='cosine', min_lr=1e-5),
            [dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=12, by_epoch=True, begin=0, end=12)],
        ),
        (
            dict(policy='poly', power=0.9, min_lr=1e-4),
            [dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=True, begin=0, end=12)],
        ),
        (dict(policy='step', step=3), [dict(type='StepLR', step_size=3, gamma=0.1, by_epoch=True, begin=0, end=12)]),
        (dict(policy='exp', gamma=0.9), [dict(type='ExponentialLR', gamma=0.9, by_epoch=True, begin=0, end=12)]),
        (
            dict(policy='fixed', warmup='constant', warmup_iters=5, warmup_ratio=0.5),
            [dict(type='ConstantLR', factor=0.5, by_epoch=False, begin=0, end=5)],
        ),
    ],
)
def test_policies(old, expected):
    assert param_schedulers(old, length=12, by_epoch=True) == expected


@pytest.mark.parametrize('train', [3, dict(batch_size=4)])
def test_a_helper_variable_named_train_stays(train):
    assert rename_old_keys(dict(train=train)) == (dict(train=train), [])


def test_other_keys_of_taos_train_are_named():
    with pytest.raises(ValueError, match=r'train\.num_gpus is an old key .* distributed_strategy'):
        rename_old_keys(dict(train=dict(distributed_strategy='ddp', num_gpus=8)))
