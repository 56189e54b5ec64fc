"""``maskforge label``: flags before label_cfg before the loader; what ``infer`` hands over."""
import argparse
import json

import pytest
from mmengine.config import Config
from toy_boxes import write_toy

from maskforge.cli import infer, label
from maskforge.config import load_config


@pytest.fixture
def toy(tmp_path):
    """Config, checkpoint, images and boxes."""
    write_toy(tmp_path, images=2, boxes=2)
    return tmp_path


def arguments(toy, *words):
    return [str(toy / 'toy.py'), '--weights', str(toy / 'toy.pth'), '--ann-file', str(toy / 'boxes.json'), '--img-dir',
            str(toy / 'photos'), '--out', str(toy / 'out.json'), '--device', 'cpu', *words]


def records(path):
    return json.loads(path.read_text())['annotations']


def test_labels(toy):
    assert label.main(arguments(toy)) == 0
    assert len(records(toy / 'out.json')) == 4 and (toy / 'out_review' / 'index.html').exists()


@pytest.mark.parametrize(('flags', 'config', 'key', 'expected'), [
    ((), {}, 'batch_size', 4),
    ((), dict(batch_size=9), 'batch_size', 9),
    (('--batch-size', '2'), dict(batch_size=9), 'batch_size', 2),
    ((), dict(clip_to_box=True), 'clip_to_box', True),
    (('--load-mask',), {}, 'load_mask', True),
    (('--min-score', '0'), dict(min_score=0.4), 'min_score', 0.0),
    (('--review', '0'), {}, 'review', 0),
    (('--chunk-size', '7'), {}, 'chunk_size', 7),
    (('--num-workers', '3'), {}, 'num_workers', 3),
    (('--label-dump-path', 'labels'), {}, 'out', 'labels.json'),
])
def test_settings(toy, flags, config, key, expected):
    args = label.parser().parse_args(arguments(toy, *flags))
    cfg = Config(dict(test_dataloader=dict(batch_size=4, num_workers=0), label_cfg=config))
    assert label.label_settings(args, cfg)[key] == expected


def test_every_setting_of_the_job_is_a_flag_and_a_key():
    from maskforge.config.keys import PLAIN_DICTS
    args = label.parser().parse_args(['model'])
    assert PLAIN_DICTS['label_cfg'] == set(label._SETTINGS) <= set(vars(args))


def test_names_of_tao(toy):
    options = ['inference.ann_path=b.json', 'inference.img_dir=i', 'inference.label_dump_path=o',
               'inference.batch_size=5', 'inference.load_mask=True', 'inference.checkpoint=w.pth']
    cfg = load_config(toy / 'toy.py', options=options)
    assert cfg.label_cfg == dict(ann_file='b.json', img_dir='i', out='o', batch_size=5, load_mask=True, chunk_size=4)
    assert cfg.load_from == 'w.pth' and 'inference' not in cfg


@pytest.mark.parametrize(('words', 'message'), [
    (['--ann-file', ''], 'labelling needs --ann-file FILE.json (or label_cfg.ann_file in the config)'),
    (['--out', ''], 'labelling needs --out FILE.json'),
    (['--img-dir', 'nowhere'], '--img-dir nowhere is not a folder'),
    (['--cfg-options', 'label_cfg.chunk=3'], 'label_cfg.chunk does not exist; label_cfg knows ann_file'),
    (['--weights', 'none.pth'], 'checkpoint none.pth does not exist'),
    (['--weights', ''], 'no weights to label with; give --weights CHECKPOINT'),
])
def test_errors(toy, capsys, words, message):
    assert label.main(arguments(toy, *words)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(('words', 'message'), [
    (['--weights', 'a.pth'], 'is a checkpoint, and so is --weights a.pth'),
    (['--cfg-options', 'a=1'], '--cfg-options change a config, but'),
])
def test_errors_of_a_checkpoint(toy, capsys, words, message):
    assert label.main([str(toy / 'toy.pth'), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_knows_its_config(toy):
    assert label.main([str(toy / 'toy.pth'), *arguments(toy)[3:]]) == 0
    assert len(records(toy / 'out.json')) == 4


def test_infer_hands_over(toy, capsys):
    assert infer.main(arguments(toy)) == 0
    assert len(records(toy / 'out.json')) == 4
    options = [f'inference.ann_path={toy / "boxes.json"}', f'inference.img_dir={toy / "photos"}',
               f'inference.label_dump_path={toy / "tao"}']
    model = [str(toy / 'toy.py'), '--weights', str(toy / 'toy.pth')]
    assert infer.main([*model, '--cfg-options', *options]) == 0
    assert (toy / 'tao.json').read_bytes() == (toy / 'out.json').read_bytes()
    assert infer.main([model[0], str(toy / 'photos'), *model[1:]]) == 2
    assert 'makes masks for boxes, not for whole images: give --ann-file' in capsys.readouterr().err


def test_infer_without_images_says_so(capsys):
    assert infer.main(['maskforge::quickstart/mask-rcnn_r18_fpn_shapes.py']) == 2
    assert 'name images, folders or patterns' in capsys.readouterr().err


def test_parser_takes_launchers():
    args = label.parser().parse_args(['m', '--launcher', 'pytorch', '--num-gpus', '2'])
    assert isinstance(args, argparse.Namespace) and args.launcher == 'pytorch'
