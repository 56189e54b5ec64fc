"""Test-time augmentation of jobs: the views that the config names, merged."""
import pytest
from mmengine.config import Config

import maskforge.engine.test_time_augmentation
from maskforge.inference import Inferencer, load_model, run_inference

TTA = dict(tta_model=dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=4)),
           tta_pipeline=[dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[
               [dict(type='mmcv.Resize', scale=scale, keep_ratio=True) for scale in ((64, 48), (96, 72))],
               [dict(type='InferenceToyPack')]])])


@pytest.fixture
def loaded(toy):
    model, cfg = load_model(toy / 'toy.pth', device='cpu')
    return model, Config({**cfg.to_dict(), **TTA})


def test_views_are_merged(loaded, photos, monkeypatch):
    model, cfg = loaded
    seen, original = [], maskforge.engine.test_time_augmentation.DetTTAModel.merge_preds
    monkeypatch.setattr(maskforge.engine.test_time_augmentation.DetTTAModel, 'merge_preds',
                        lambda self, lists: seen.extend(map(len, lists)) or original(self, lists))
    found = Inferencer(model, cfg=cfg, tta=True)(photos, batch_size=4)
    assert seen == [2] * 6 and len(found) == 6
    assert max(len(sample.pred_instances) for sample in found) == 4  # three an image without it


def test_a_job_with_views_names_them_in_its_journal(loaded, photos, tmp_path):
    model, cfg = loaded
    plain, views = (run_inference(model, photos, cfg=cfg, tta=tta, out_dir=tmp_path / str(tta)).read_text()
                    for tta in (False, True))
    assert plain != views


@pytest.mark.parametrize(('kind', 'message'), [('pth', 'the config has no tta_model and no tta_pipeline'),
                                               ('onnx', 'an ONNX file has one fixed way')])
def test_without_a_recipe_it_is_an_error(toy, photos, tmp_path, kind, message):
    with pytest.raises(ValueError, match=message):
        run_inference(toy / f'toy.{kind}', photos, out_dir=tmp_path, tta=True)
