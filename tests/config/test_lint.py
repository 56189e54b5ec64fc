"""The linter, and the check of keys and arguments."""

import pytest

from maskforge.config import check_keys, lint_config, load_config, shipped_configs

GOOD = """
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
train_dataloader = dict(batch_size=2, sampler=dict(type='DefaultSampler'), dataset=dict(type='CocoDataset'))
val_dataloader = dict(batch_size=1, sampler=dict(type='DefaultSampler'), dataset=dict(type='CocoDataset'))
val_evaluator = dict(type='CocoMetric')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
                   dict(type='MultiStepLR', milestones=[8, 11], begin=0, end=12)]
model = dict(type='MaskRCNN', rpn_head=dict(type='RPNHead', num_classes=1),
             roi_head=dict(bbox_head=dict(num_classes=2), mask_head=dict(num_classes=2)))
"""

NO_VALIDATION = 'val_cfg = val_dataloader = val_evaluator = None'


def findings(check, write, text, options=()):
    return [str(item) for item in check(load_config(write('a.py', GOOD + text), options=options))]


def test_nothing_to_find(write):
    assert findings(lint_config, write, '') == []


def test_a_cosine_behind_a_warm_up_lasts_to_the_end(write):
    text = "param_scheduler = [dict(type='CosineAnnealingLR', begin=0.6, end=12)]"
    assert findings(lint_config, write, text) == []
    short = text.replace('end=12', 'end=8')
    assert any('lasts 7.4 epochs but training 12' in line for line in findings(lint_config, write, short))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (
            "param_scheduler = [dict(type='MultiStepLR', milestones=[28, 34], end=24)]\n"
            'train_cfg = dict(max_epochs=36)',
            'error: param_scheduler.0.milestones: milestone 28 is never reached: the scheduler ends at 24',
        ),
        (
            "param_scheduler = [dict(type='MultiStepLR', milestones=[8, 16])]",
            'error: param_scheduler.0.milestones: milestone 16 is never reached: training ends after 12 epochs',
        ),
        (
            "param_scheduler = dict(type='StepLR', step_size=2, begin=5, end=5)",
            'param_scheduler.end: the scheduler ends at 5',
        ),
        ("param_scheduler = [dict(type='StepLR', step_size=2, begin=12)]", 'begins at 12, after the 12 epochs'),
        (
            "param_scheduler = [dict(type='CosineAnnealingLR', T_max=6)]",
            'CosineAnnealingLR lasts 6 epochs but training 12',
        ),
        ("param_scheduler = [dict(type='MultiStepLR', milestones=[3], end=6)]", 'warning: param_scheduler.0.end'),
        (
            "param_scheduler = dict(generator=[dict(type='MultiStepLR', milestones=[30])])",
            'param_scheduler.generator.0',
        ),
        (
            'model = dict(roi_head=dict(bbox_head=dict(num_classes=3), mask_head=dict(num_classes=2)))',
            'model.roi_head.bbox_head.num_classes=3, model.roi_head.mask_head.num_classes=2',
        ),
        (
            "train_dataloader['dataset']['metainfo'] = dict(classes=('a', 'b', 'c'))",
            'model.roi_head.bbox_head.num_classes: 2 classes, but train_dataloader.dataset.metainfo.classes lists 3',
        ),
        (
            "train_dataloader['dataset']['metainfo'] = dict(classes=('a', 'b'))\n"
            "val_dataloader['dataset']['metainfo'] = dict(classes=('b', 'a'))",
            'labels would mean different classes',
        ),
        ("train_dataloader['dataset']['metainfo'] = dict(classes=('a', 'a'))", "class 'a' is listed twice"),
        ('val_evaluator = None', 'error: val_evaluator: val_dataloader and val_cfg given without val_evaluator'),
        (
            "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=20)",
            'train_cfg.val_interval: 20 is more',
        ),
        ('auto_scale_lr = dict(enable=True)', 'add auto_scale_lr=dict(enable=True, base_batch_size=16)'),
        (
            "default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'))\n" + NO_VALIDATION,
            'there is no validation to be best at',
        ),
        (
            "custom_hooks = [dict(type='EarlyStoppingHook', monitor='x')]\n" + NO_VALIDATION,
            'EarlyStoppingHook waits for a metric',
        ),
        ('default_hooks = dict(checkpoint=dict(interval=50))', 'default_hooks.checkpoint.interval: 50 is more'),
    ],
)
def test_lint(write, text, expected):
    found = findings(lint_config, write, text)
    assert any(expected in item for item in found), found


def test_dead_variable(write):
    write('base.py', GOOD + '\nlr = 0.02\noptim_wrapper = dict(optimizer=dict(type="SGD", lr=lr))\n')
    dead = load_config(write('child.py', "_base_ = 'base.py'\nlr = 0.1\n"))
    (finding,) = lint_config(dead)
    assert 'lr: setting this variable has no effect' in str(finding)
    assert 'set optim_wrapper.optimizer.lr instead' in str(finding) and 'child.py:2' in str(finding)
    used = load_config(write('other.py', "_base_ = 'base.py'\nlr = 0.1\noptim_wrapper = dict(optimizer=dict(lr=lr))\n"))
    assert lint_config(used) == []
    option = load_config(write('third.py', "_base_ = 'base.py'\n"), options=['lr=0.1'])
    assert 'command line' in str(lint_config(option)[0])


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('modle = dict(depth=3)', 'error: modle: nothing reads this key. did you mean model'),
        ('my_setting = 3', 'error: my_setting: nothing reads this key. Remove it'),
        (
            'env_cfg = dict(mp_cfg=dict(mp_start_metod="fork"))',
            'env_cfg.mp_cfg.mp_start_metod: nothing reads this key. did',
        ),
        ('randomness = dict(sed=1)', 'randomness.sed: nothing reads this key. did you mean seed'),
        (
            'default_hooks = dict(chekpoint=dict(interval=3))',
            'default_hooks.chekpoint: there is no default hook of this name. did you mean checkpoint',
        ),
        (
            'default_hooks = dict(checkpoint=dict(intervall=3))',
            'CheckpointHook has no such argument. did you mean interval',
        ),
        (
            "model = dict(backbone=dict(type='ResNet', depth=50, dept=18))",
            'error: model.backbone.dept: ResNet has no such argument. did you mean depth',
        ),
        ("model = dict(backbone=dict(type='ResNet'))", 'error: model.backbone: ResNet needs depth'),
        (
            "model = dict(backbone=dict(type='ResNett', depth=50))",
            "model.backbone.type: type='ResNett' is not in the registry",
        ),
        (
            "train_dataloader['batchsize'] = 3",
            'train_dataloader.batchsize: a data loader has no such argument. did you mean',
        ),
        ("del train_dataloader['sampler']", "train_dataloader: 'sampler' is missing: add sampler=dict("),
        (
            "train_dataloader['dataset']['pipline'] = []",
            'train_dataloader.dataset.pipline: CocoDataset has no such argument',
        ),
        (
            "train_dataloader['dataset']['pipeline'] = [dict(type='RandomFlip', probe=1)]",
            'pipeline.0.probe: RandomFlip has no',
        ),
        (
            'train_cfg = dict(by_epoch=True, max_epoch=3)',
            'train_cfg.max_epoch: EpochBasedTrainLoop has no such argument',
        ),
        ('train_cfg = dict(by_epoch=True)', 'train_cfg: EpochBasedTrainLoop needs max_epochs'),
        (
            "optim_wrapper['optimizer'] = dict(type='SGD', lr=1, momentun=1)",
            'optim_wrapper.optimizer.momentun: SGD has no such',
        ),
        ("optim_wrapper['optimizer'] = dict(type='SDG', lr=1)", "optim_wrapper.optimizer.type: type='SDG'"),
        ("optim_wrapper['clip_gard'] = dict(max_norm=1)", 'optim_wrapper.clip_gard: OptimWrapper has no such argument'),
        (
            "val_evaluator = [dict(type='CocoMetric', metrics='bbox')]",
            'val_evaluator.0.metrics: CocoMetric has no such argument',
        ),
        ("param_scheduler = [dict(type='StepLR', step=3)]", 'param_scheduler.0.step: StepLR has no such argument'),
    ],
)
def test_check_keys(write, text, expected):
    found = findings(check_keys, write, text)
    assert any(expected in item for item in found), found


def test_names_that_the_text_uses_count_as_read(write):
    text = "root = 'x'\nscale = (3, 4)\nval_evaluator = dict(type='CocoMetric', ann_file=root)\nwork_dir = str(scale)\n"
    assert not any('nothing reads' in item for item in findings(check_keys, write, text))
    path = write('dumped.py', load_config(write('b.py', GOOD + text)).pretty_text)
    assert not any('nothing reads' in str(item) for item in check_keys(load_config(path)))


def test_own_keys_with_own_code(write):
    write('mf_own_code.py', '')
    text = "custom_imports = dict(imports=['mf_own_code'])\nfrobnicate = 3\nmodle = 4\n"
    found = findings(check_keys, write, text)
    assert any(item.startswith('warning: frobnicate') for item in found)
    assert any(item.startswith('error: modle') for item in found)


@pytest.mark.parametrize('name', shipped_configs())
def test_shipped_configs_are_clean(name):
    cfg = load_config(f'maskforge::{name}')
    assert [str(item) for item in [*check_keys(cfg), *lint_config(cfg)]] == []
