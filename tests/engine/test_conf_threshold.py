"""``conf_threshold`` of validation and test: low scores are gone, every image keeps its place."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.cli import test as test_verb
from maskforge.engine.loops import TestLoop, ValLoop
from maskforge.structures import DetDataSample, PanopticSegmentation


class Evaluator:
    metrics = ()

    def __init__(self):
        self.seen = []

    def process(self, data_samples, data_batch):
        self.seen += data_samples


def samples():
    scores = [[0.9, 0.2], [0.1, 0.05], [0.5, 0.4]]
    return [DetDataSample(metainfo=dict(img_id=number), pred_instances=InstanceData(
        bboxes=torch.rand(2, 4), scores=torch.tensor(pair), labels=torch.tensor([0, 1])))
        for number, pair in enumerate(scores, 1)]


@pytest.fixture
def make():
    """A loop over one batch, and what its hooks saw."""
    def build(kind, **options):
        hooked = []
        model = SimpleNamespace(val_step=lambda batch: samples(), test_step=lambda batch: samples())
        runner = SimpleNamespace(model=model, seed=0, build_evaluator=lambda evaluator: evaluator,
                                 build_dataloader=lambda loader, **_: loader, adopt_dataset=lambda *_: None,
                                 call_hook=lambda name, **data: hooked.extend(data.get('outputs', ())))
        loop = kind(runner, [], Evaluator(), **options)
        loop.run_iter(0, [])
        return loop.evaluator.seen, hooked

    return build


@pytest.mark.parametrize('kind', [TestLoop, ValLoop])
@pytest.mark.parametrize(('threshold', 'kept'), [(0.0, [2, 2, 2]), (0.5, [1, 0, 1]), (1.0, [0, 0, 0])])
def test_predictions_below_are_dropped_and_images_stay(make, kind, threshold, kept):
    seen, hooked = make(kind, conf_threshold=threshold)
    assert [sample.img_id for sample in seen] == [1, 2, 3]
    assert [len(sample.pred_instances) for sample in seen] == kept
    assert [len(sample.pred_instances) for sample in hooked] == kept
    assert all((sample.pred_instances.scores >= threshold).all() for sample in seen)


@pytest.mark.parametrize('threshold', [-0.1, 1.5])
def test_a_threshold_outside_the_range(make, threshold):
    with pytest.raises(ValueError, match=r'test_cfg\.conf_threshold=.* must lie in 0 \.\. 1'):
        make(TestLoop, conf_threshold=threshold)


@pytest.mark.parametrize(('words', 'expected'), [([], None), (['--conf-threshold', '0.3'], 0.3)])
def test_the_flag_sets_the_key(tmp_path, words, expected):
    (tmp_path / 'c.py').write_text("test_cfg = dict(type='TestLoop')\ntest_dataloader = dict()\ntest_evaluator = []\n")
    (tmp_path / 'w.pth').write_bytes(b'')
    args = test_verb.parser().parse_args([str(tmp_path / 'c.py'), str(tmp_path / 'w.pth'), *words])
    assert test_verb.test_config(args).test_cfg.get('conf_threshold') == expected


def test_panoptic_segments_too():
    loop = SimpleNamespace(conf_threshold=0.5)
    segments = PanopticSegmentation(np.array([[0, 1, 2]], np.int32), np.array([4, 6]), np.array([0.4, 0.9], np.float32))
    sample = DetDataSample()
    sample.pred_panoptic = segments
    found = TestLoop._above(loop, sample).pred_panoptic
    assert found.segments.tolist() == [[0, 0, 1]] and found.labels.tolist() == [6]
