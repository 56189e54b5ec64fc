"""Test pipelines without the steps that need truth."""
import pytest
from mmengine.config import Config

from maskforge.inference.predictor import TorchPredictor

LOAD_MAPS = dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True)


@pytest.mark.parametrize('truth', [[dict(type='LoadAnnotations')], [dict(type='LoadPanopticAnnotations')],
                                   [LOAD_MAPS, dict(type='SemSegToInstances')]])
def test_truth_is_left_out(truth):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(12, 8)), *truth, dict(type='PackDetInputs')]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    predictor = TorchPredictor(None, cfg)
    assert [type(step).__name__ for step in predictor.pipeline.transforms] == ['Resize', 'PackDetInputs']
