"""Loading: inheritance, substitution, errors with file and line, text."""

import logging

import pytest

from maskforge.config import Config, config_text, find_config, load_config, shipped_configs


def test_inheritance(write):
    write(
        'base.py',
        "lr = 0.1\nmodel = dict(type='A', depth=50, norm=dict(type='BN'))\noptimizer_name = 'SGD'\n"
        "pipeline = [dict(type='Load')]\n",
    )
    child = write(
        'sub/child.py',
        "_base_ = ['../base.py']\nimport math\n"
        "model = dict(depth=18, norm=dict(_delete_=True, type='GN'))\n"
        "pipeline = _base_.pipeline + [dict(type='Flip')]\nother = {{_base_.model}}\n"
        "name = '{{_base_.optimizer_name}}-x'\nwork_dir = 'runs/{{fileBasenameNoExtension}}'\n"
        'def helper():\n    return 1\ntwo = [math.floor(lr) for lr in (2.5,)]\n',
    )
    cfg = load_config(child)
    assert isinstance(cfg, Config)
    assert cfg.model == dict(type='A', depth=18, norm=dict(type='GN'))
    assert [step.type for step in cfg.pipeline] == ['Load', 'Flip']
    assert cfg.other == dict(type='A', depth=50, norm=dict(type='BN'))
    assert (cfg.name, cfg.work_dir, cfg.two) == ('SGD-x', 'runs/child', [2])
    assert 'helper' not in cfg and 'math' not in cfg
    assert cfg.default_scope == 'maskforge'


def test_shared_objects_are_separate(write):
    path = write('a.py', 'val_dataloader = dict(batch_size=1)\ntest_dataloader = val_dataloader\n')
    cfg = load_config(path, options=['val_dataloader.batch_size=4'])
    assert (cfg.val_dataloader.batch_size, cfg.test_dataloader.batch_size) == (4, 1)


@pytest.mark.parametrize('suffix', ['json', 'yaml'])
def test_data_files(write, suffix):
    write('base.json', '{"model": {"depth": 50}, "n": 3}')
    text = {
        'json': '{"_base_": "base.json", "model": {"type": "A"}, "m": "{{_base_.n}}", "s": "n={{_base_.n}}"}',
        'yaml': '_base_: base.json\nmodel: {type: A}\nm: "{{_base_.n}}"\ns: "n={{_base_.n}}"\n',
    }[suffix]
    cfg = load_config(write(f'a.{suffix}', text))
    assert cfg.model == dict(type='A', depth=50)
    assert (cfg.m, cfg.s) == (3, 'n=3')


def test_environment(write, monkeypatch):
    path = write('a.py', "root = '{{$MF_ROOT:/default}}/images'\nn = {{'$MF_N:3'}}\n")
    assert (load_config(path).root, load_config(path).n) == ('/default/images', 3)
    monkeypatch.setenv('MF_ROOT', '/data')
    cfg = load_config(path)
    assert cfg.root == '/data/images'
    assert cfg.env_variables == {'MF_ROOT': '/data'}


@pytest.mark.parametrize(
    ('text', 'error', 'message'),
    [
        ('a = 1\nb = [\n', ValueError, r'bad\.py:\d: syntax error'),
        ('a = 1\nb = a.x\n', ValueError, r'bad\.py:2: AttributeError'),
        ('a = 1\n\nb = undefined_name\n', ValueError, r"bad\.py:3: NameError: name 'undefined_name'"),
        ("_base_ = 'base.py'\nb = _base_.trian_pipeline\n", ValueError, r'bad\.py:2: .*did you mean train_pipeline'),
        ("_base_ = 'bas.py'\n", FileNotFoundError, r"bad\.py: _base_ 'bas\.py'.*Near names .*base\.py"),
        ("_base_ = 'bad.py'\n", ValueError, 'goes in a circle'),
        ("_base_ = ['base.py', 'base2.py']\n", ValueError, "'model' is set by two of its bases"),
        ("_base_ = 'base.py'\ntrain_pipeline = dict(a=1)\n", TypeError, r'bad\.py: .*_delete_=True'),
        ("_base_ = 'nopackage::x.py'\n", FileNotFoundError, 'package nopackage is not installed'),
        ("x = '{{$MF_UNSET:}}'\n", ValueError, 'environment variable MF_UNSET is not set'),
        ("custom_imports = dict(imports=['no_such_module_mf'])\n", ImportError, "module 'no_such_module_mf' cannot be"),
        ("custom_imports = ['x']\n", ValueError, r"custom_imports is \['x'\]; a dict is needed"),
    ],
)
def test_errors(write, text, error, message):
    write('base.py', "train_pipeline = [1]\nmodel = dict(type='A')\n")
    write('base2.py', "model = dict(type='B')\n")
    with pytest.raises(error, match=message):
        load_config(write('bad.py', text))


def test_missing_file(write):
    path = write('mask-rcnn_r50.py', '')
    with pytest.raises(FileNotFoundError, match=r'Near names .*mask-rcnn_r50.py'):
        load_config(path.with_name('maskrcnn_r50.py'))
    with pytest.raises(FileNotFoundError, match='is a folder'):
        load_config(path.parent)
    with pytest.raises(FileNotFoundError, match=r'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'):
        load_config('no/such/folder/mask-rcnn_r50_fpn_1x_coc.py')


def test_read_base(write):
    write('base.py', "model = dict(type='A')\n")
    path = write(
        'child.py', 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\nlr = 0.1\n'
    )
    cfg = load_config(path, options=['model.type=B'])
    assert (cfg.model.type, cfg.lr) == ('B', 0.1)
    bad = write(
        'worse.py',
        'from mmengine.config import read_base\nimport math\nwith read_base():\n'
        '    from .base import *\nlr = undefined\n',
    )
    with pytest.raises(ValueError, match=r'worse\.py:5: NameError'):
        load_config(bad)


def test_package_names():
    assert find_config('maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py').name == 'mask-rcnn_r50_fpn_1x_coco.py'
    assert find_config('maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco').suffix == '.py'
    with pytest.raises(FileNotFoundError, match=r'does not exist in package maskforge.*1x_coco.py'):
        find_config('maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_cocco.py')


def test_shipped_base_from_elsewhere(write):
    path = write('mine.py', "_base_ = 'maskforge::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\nwork_dir = 'x'\n")
    cfg = load_config(path, options=['model.backbone.depth=18'])
    assert (cfg.model.type, cfg.model.backbone.depth) == ('MaskRCNN', 18)


@pytest.mark.parametrize('name', shipped_configs())
def test_shipped_configs_load_and_reload(name, tmp_path):
    cfg = load_config(f'maskforge::{name}')
    cfg.dump(tmp_path / 'dumped.py')
    assert load_config(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


def test_resume_spellings(write):
    path = write('a.py', "load_from = 'coco.pth'\n")
    assert load_config(path, options=['resume=auto']).to_dict()['resume'] is True
    assert load_config(path, options=['resume=auto']).load_from is None
    cfg = load_config(path, options=['resume=x.pth'])
    assert (cfg.resume, cfg.load_from) == (True, 'x.pth')


def test_no_workers_to_keep(write, caplog):
    path = write('a.py', 'train_dataloader = dict(num_workers=2, persistent_workers=True)\n')
    with caplog.at_level(logging.WARNING):
        cfg = load_config(path, options=['train_dataloader.num_workers=0'])
    assert cfg.train_dataloader.persistent_workers is False
    assert 'persistent_workers is set to False' in caplog.text


def test_custom_imports_beside_the_config(write, monkeypatch):
    write('mf_beside.py', 'X = 1\n')
    load_config(write('a.py', "custom_imports = dict(imports=['mf_beside'])\n"))
    load_config(write('b.py', "custom_imports = dict(imports=['mf_nowhere'], allow_failed_imports=True)\n"))


def test_text():
    values = dict(
        a=dict(b=(1,), c={'x-y': float('inf'), 'class': -float('inf')}, d=[]),
        encryption_key='secret',
        f=print,
        g={1: None},
        h="it's",
        s={3},
    )
    text = config_text(values)
    assert 'secret' not in text and "encryption_key = '***'" in text
    space: dict = {}
    exec(text, space)
    assert space['a'] == values['a'] and space['g'] == values['g'] and space['h'] == values['h'] and space['s'] == {3}
    assert space['f'] == 'builtins.print'


def test_text_of_what_mmengine_refuses(tmp_path):
    cfg = Config(dict(model=dict(type='A', activation=lambda x: x)))
    assert 'lambda' in cfg.pretty_text
    cfg.dump(tmp_path / 'a.py')
    assert load_config(tmp_path / 'a.py').model.type == 'A'
