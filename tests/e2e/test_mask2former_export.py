"""Export, then test and infer with the file: the figures of PyTorch."""
import json

import pytest
from mmengine.config import Config
from tiny_mask2former import draw_all, tiny_mask2former_config

from maskforge.cli.export import main as export
from maskforge.cli.infer import main as infer
from maskforge.cli.run_config import build_runner
from maskforge.cli.test import parser, test_config
from maskforge.engine import Runner

KEYS = dict(panoptic='coco_panoptic/PQ', semantic='mIoU')
WRITTEN = dict(panoptic='panoptic.json', semantic='semantic')


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A few pictures with masks, panoptic and semantic maps."""
    return draw_all(tmp_path_factory.mktemp('pictures'))


@pytest.fixture
def trained(drawn, tmp_path):
    """Trains a mode for long enough that it scores; returns the runner and the config's file."""
    def run(mode):
        content = tiny_mask2former_config(
            drawn, tmp_path / 'run', mode, train_cfg=dict(by_epoch=True, max_epochs=24, val_interval=24),
            model=dict(object_mask_threshold=0.1, overlap_threshold=0.3))
        Config(content).dump(tmp_path / 'config.py')
        runner = Runner.from_cfg(content)
        runner.train()
        return runner, str(tmp_path / 'config.py')

    return run


@pytest.mark.parametrize('mode', KEYS)
def test_files_score_what_the_model_scores(trained, drawn, tmp_path, mode):
    runner, config = trained(mode)
    wanted = runner.test()
    checkpoint, file = str(tmp_path / 'run' / 'epoch_24.pth'), str(tmp_path / 'model.onnx')
    runner.save_checkpoint(str(tmp_path / 'run'), 'epoch_24.pth')
    assert wanted[KEYS[mode]] > 0
    for output, tolerance in (('raw', 2e-3), ('masks', 0.1)):
        assert export([config, checkpoint, '--onnx-file', file, '--input-height', '96', '--input-width', '96',
                       '--cfg-options', f'export_cfg.model_options.output={output}']) == 0
        found = build_runner(test_config(parser().parse_args([config, file]))).test()
        assert found[KEYS[mode]] == pytest.approx(wanted[KEYS[mode]], abs=tolerance)
    assert infer([file, str(drawn.images['val']), '--out-dir', str(tmp_path / 'found')]) == 0
    assert (tmp_path / 'found' / WRITTEN[mode]).exists()
    if mode == 'panoptic':
        record = json.loads((tmp_path / 'found' / 'panoptic.json').read_text())
        assert {entry['isthing'] for entry in record['categories']} == {0, 1}
