"""Which file set a value."""

import pytest

from maskforge.config import explain


@pytest.fixture
def child(write):
    write(
        'base.py',
        'lr = 0.02\n'  # 1
        "optim_wrapper = dict(type='OptimWrapper',\n"  # 2
        "                     optimizer=dict(type='SGD',\n"  # 3
        '                                    lr=lr))\n'  # 4
        "pipeline = [dict(type='Load'),\n            dict(type='Resize', scale=3)]\n"  # 5, 6
        'train_dataloader = dict(dataset=dict(pipeline=pipeline))\n'  # 7
        'data = dict(samples_per_gpu=3)\n',
    )  # 8
    return write(
        'child.py',
        "_base_ = 'base.py'\n\n"
        'optim_wrapper = dict(optimizer=dict(lr=0.01))\n'
        "optim_wrapper['clip_grad'] = dict(max_norm=1)\n",
    )


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        (
            'optim_wrapper.optimizer.lr',
            ['optim_wrapper.optimizer.lr = 0.01', 'set  {child}:3  0.01', 'over  {base}:1  0.02  (variable lr)'],
        ),
        ('optim_wrapper.optimizer.type', ["optim_wrapper.optimizer.type = 'SGD'", "set  {base}:3  'SGD'"]),
        ('optim_wrapper.clip_grad.max_norm', ['optim_wrapper.clip_grad.max_norm = 1', 'set  {child}:4  1']),
        (
            'train_dataloader.dataset.pipeline.1.scale',
            ['train_dataloader.dataset.pipeline.1.scale = 3', 'set  {base}:6  3  (variable pipeline)'],
        ),
        ('train_dataloader.batch_size', ['train_dataloader.batch_size = 3', 'set  {base}:8  3  (by the old key data)']),
        ('default_scope', ["default_scope = 'maskforge'", 'set  set by maskforge as a default, no file sets it']),
    ],
)
def test_explain(child, key, expected):
    lines = [line.strip() for line in explain(child, key).splitlines()]
    assert lines == [line.format(child=child, base=child.with_name('base.py')) for line in expected]


def test_option_and_replacement(child, write):
    text = explain(child, 'optim_wrapper.optimizer.lr', options=['optimizer.lr=0.5'])
    assert 'set  command line (optim_wrapper.optimizer.lr)  0.5' in text and 'over  ' in text
    other = write(
        'other.py', "_base_ = 'base.py'\noptim_wrapper = dict(_delete_=True, optimizer=dict(type='Adam', lr=1))\n"
    )
    assert f'{other}:2' in explain(other, 'optim_wrapper.optimizer.type')
    third = write('third.py', "_base_ = 'base.py'\ntrain_dataloader = dict(dataset=dict(pipeline=[dict(scale=4)]))\n")
    lines = explain(third, 'train_dataloader.dataset.pipeline.0.scale').splitlines()
    assert lines[1].endswith('third.py:2  4')


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('optim_wraper', 'did you mean optim_wrapper'),
        ('optim_wrapper.optimizer.zzz', r'optim_wrapper.optimizer holds: type, lr'),
    ],
)
def test_unknown_key(child, key, message):
    with pytest.raises(KeyError, match=message):
        explain(child, key)
