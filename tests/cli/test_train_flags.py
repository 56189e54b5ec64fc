"""Flags of training, test and export as they arrive in the config."""

from pathlib import Path

import pytest

from maskforge.cli import export as export_verb
from maskforge.cli import test as test_verb
from maskforge.cli import train as train_verb

CFG = """
model = dict(type='MaskRCNN')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)
val_dataloader = dict(dataset=dict(type='CocoDataset'))
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='CocoMetric')
test_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CocoDataset', pipeline=[dict(type='A')])))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='CocoMetric')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', save_best='coco/bbox_mAP'))
custom_hooks = [dict(type='EarlyStoppingHook', monitor='x'), dict(type='EMAHook')]
export_cfg = dict(type='ExportLoop', opset_version=17)
load_from = 'coco.pth'
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my_run.py').write_text(CFG)
    (tmp_path / 'w.pth').write_bytes(b'x')
    (tmp_path / 'm.onnx').write_bytes(b'x')
    return tmp_path


def train_cfg(*flags):
    return train_verb.train_config(train_verb.parser().parse_args(['my_run.py', *flags]))


@pytest.mark.usefixtures('folder')
@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        ([], dict(work_dir='work_dirs/my_run', launcher='none', load_from='coco.pth')),
        (['--work-dir', 'x'], dict(work_dir='x')),
        (['--options', 'work_dir=y'], dict(work_dir='y')),
        (['--cfg-options', 'work_dir=y', '--work-dir', 'x'], dict(work_dir='x')),
        (['--resume-from', 'w.pth'], dict(resume=True, load_from='w.pth')),
        (['--resume', 'w.pth'], dict(resume=True, load_from='w.pth')),
        (['--resume'], dict(resume=False, load_from='coco.pth')),  # nothing there yet
        (['--resume-from', 'w.pth', '--resume', 'auto'], dict(resume=True, load_from='w.pth')),
        (['--resume', 'w.pth', '--resume', 'auto'], dict(resume=True, load_from='w.pth')),
        (['--load-from', 'other.pth'], dict(resume=False, load_from='other.pth')),
        (['--amp'], {'optim_wrapper': dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.01))}),
        (
            ['--no-validate'],
            dict(
                val_cfg=None,
                val_dataloader=None,
                val_evaluator=None,
                custom_hooks=[dict(type='EMAHook')],
                default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
            ),
        ),
        (
            ['--auto-scale-lr', '--options', 'auto_scale_lr.base_batch_size=16'],
            dict(auto_scale_lr=dict(enable=True, base_batch_size=16)),
        ),
        (['--seed', '3'], dict(randomness=dict(seed=3))),
        (['--launcher', 'pytorch', '--local_rank', '1'], dict(launcher='pytorch')),
        (['--launcher', 'pytorch', '--local-rank=1'], dict(launcher='pytorch')),
    ],
)
def test_train_flags(flags, expected):
    cfg = train_cfg(*flags)
    assert {key: cfg.get(key) for key in expected} == expected


@pytest.mark.usefixtures('folder')
@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--auto-scale-lr'], r'add auto_scale_lr=dict\(base_batch_size=16\)'),
        (['--amp', '--options', 'optim_wrapper.type=MyWrapper'], "the config has 'MyWrapper'"),
        (['--resume-from', 'w.pth', '--load-from', 'w.pth'], 'give one of them'),
        (['--resume-from', 'w.pth', '--resume', 'm.onnx'], 'got w.pth and m.onnx: give one of them'),
    ],
)
def test_contradictions(flags, message):
    with pytest.raises(ValueError, match=message):
        train_cfg(*flags)


def test_resume_finds_the_latest(folder, capsys):
    import torch

    from maskforge.checkpoints import save_checkpoint

    work_dir = folder / 'work_dirs' / 'my_run'
    work_dir.mkdir(parents=True)
    save_checkpoint(dict(meta=dict(epoch=2), state_dict=dict(w=torch.zeros(1))), work_dir / 'epoch_2.pth')
    cfg = train_cfg('--resume')
    assert cfg.resume is True and Path(cfg.load_from).name == 'epoch_2.pth'
    for flags in (['--load-from', 'x.pth'], ['--resume-from', 'w.pth'], ['--resume', 'w.pth']):
        assert Path(train_cfg(*flags, '--resume', 'auto').load_from).name == 'epoch_2.pth'
    assert train_cfg('--resume-from', 'w.pth').load_from == 'w.pth'
    capsys.readouterr()
    cfg = train_cfg()
    assert not cfg.get('resume') and cfg.load_from == 'coco.pth'
    assert 'holds epoch_2.pth of an earlier run, which is not continued' in capsys.readouterr().err


def test_print_config(folder, capsys):
    assert train_verb.main(['my_run.py', '--print-config', '--options', 'optimizer.lr=0.5', '--num-gpus', '4']) == 0
    assert 'lr=0.5' in capsys.readouterr().out


def test_cfg(*flags):
    return test_verb.test_config(test_verb.parser().parse_args(['my_run.py', *flags]))


test_cfg.__test__ = False


@pytest.mark.usefixtures('folder')
def test_test_flags(tmp_path):
    cfg = test_cfg('w.pth', '--out', 'r.json', '--show-dir', 'drawn')
    assert (cfg.load_from, cfg.resume) == ('w.pth', False)
    assert cfg.test_evaluator[1] == dict(type='DumpResults', out_file_path='r.json')
    assert cfg.default_hooks.visualization == dict(
        type='DetVisualizationHook', draw=True, test_out_dir=str(tmp_path / 'drawn')
    )
    cfg = test_cfg('m.onnx')
    assert cfg.model == dict(type='OnnxModel', path='m.onnx') and cfg.load_from is None
    (tmp_path / 'my_run.py').write_text(
        f"{CFG}\ntta_model = dict(type='DetTTAModel')\ntta_pipeline = [dict(type='B')]\n"
    )
    cfg = test_cfg('w.pth', '--tta')
    assert cfg.model == dict(type='DetTTAModel', module=dict(type='MaskRCNN'))
    assert cfg.test_dataloader.dataset.dataset.pipeline == [dict(type='B')]


@pytest.mark.usefixtures('folder')
@pytest.mark.parametrize(
    ('flags', 'error', 'message'),
    [
        (['gone.pth'], FileNotFoundError, 'checkpoint gone.pth does not exist'),
        (['w.pth', '--out', 'r.pkl'], ValueError, 'must end in .json'),
        (['w.pth', '--tta'], ValueError, "has no tta_model and no tta_pipeline; add 'maskforge::_base_/tta.py'"),
        (['m.onnx', '--tta'], ValueError, '--tta needs a checkpoint'),
        (['w.pth', '--options', 'test_cfg=none'], ValueError, 'has no test_cfg'),
    ],
)
def test_bad_test_flags(flags, error, message):
    with pytest.raises(error, match=message):
        test_cfg(*flags)


@pytest.mark.usefixtures('folder')
def test_export_flags():
    args = export_verb.parser().parse_args(
        ['my_run.py', 'w.pth', '--input-height', '128', '--batch-size', '2', '--no-check']
    )
    cfg = export_verb.export_config(args)
    assert cfg.export_cfg == dict(type='ExportLoop', opset_version=17, input_height=128, batch_size=2, check=False)
    assert cfg.load_from == 'w.pth'
