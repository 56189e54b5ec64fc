"""SAM 2's two exported files: run beside PyTorch, by the loop and by the predictor that reads them."""
import json
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config
from tiny_clips import tiny_sam2

from maskforge.export import ExportLoop, open_session
from maskforge.inference import OnnxImagePredictor, OnnxModel
from maskforge.models.sam2 import ImagePredictor

OLD_TORCH = pytest.mark.skipif(torch.__version__.startswith('2.6.'), reason="torch 2.6's dynamo exporter fixes axes")
SIZE = (50, 90)
OLD = dict(version='2.0', use_high_res_features_in_sam=False, pred_obj_scores=False, pred_obj_scores_mlp=False,
           fixed_no_obj_ptr=False)
PROMPTS = {
    'click': dict(point_coords=[[45, 25]], point_labels=[1]),
    'clicks': dict(point_coords=[[45, 25], [9, 10], [0, 0]], point_labels=[1, 0, -1]),
    'box': dict(box=[5, 6, 60, 40]),
    'boxes': dict(box=[[5, 6, 60, 40], [1, 2, 30, 49], [0, 0, 90, 50]]),
    'boxes and clicks': dict(box=[[5, 6, 60, 40]] * 2, point_coords=np.full((2, 2, 2), 20.),
                             point_labels=[[1, 0], [1, -1]]),
    'mask': dict(mask_input=np.linspace(-8, 8, 256, dtype=np.float32).reshape(1, 16, 16)),
    'click on a mask': dict(point_coords=[[45, 25]], point_labels=[1],
                            mask_input=np.linspace(-8, 8, 256, dtype=np.float32).reshape(1, 16, 16)),
}


def image(seed=0, size=SIZE):
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8), size[::-1])


def loud(**network):
    """A tiny model whose masks have logits of some size."""
    model = tiny_sam2(network=network)
    with torch.no_grad():
        for mlp in model.network.sam_mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.mul_(40)
    return model.eval()


def export(folder, model, **options):
    pictures = folder / 'pictures'
    pictures.mkdir(exist_ok=True)
    for name, size in (('a.png', SIZE), ('b.png', (70, 40))):
        cv2.imwrite(str(pictures / name), image(1, size))
    runner = SimpleNamespace(model=model, cfg=Config(dict()), work_dir=str(folder), _load_from=None)
    return ExportLoop(runner, **{'check_images': str(pictures), **options}).run()


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """The default export of one model."""
    torch.set_num_threads(1)  # before the fixture that does so for a test
    model = loud()
    return model, export(tmp_path_factory.mktemp('exported'), model)


def axes(path):
    return {entry.name: entry.shape for entry in open_session(path).get_inputs()}


def metadata(path):
    return json.loads(open_session(path).get_modelmeta().custom_metadata_map['maskforge'])


@pytest.mark.parametrize(('opset', 'network', 'options'), [
    (12, {}, dict(batch_size=2)),
    (17, OLD, dict(model_options=dict(masks='several'))),
    (17, dict(dynamic_multimask_via_stability=True, directly_add_no_mem_embed=False, memory_dim=32),
     dict(model_options=dict(output='original'))),
    (17, {}, dict(input_channel=1, input_height=64, input_width=96)),
    pytest.param(18, {}, dict(input_height=64, input_width=96), marks=[OLD_TORCH, pytest.mark.slow]),
    pytest.param(20, OLD, dict(batch_size=1), marks=[OLD_TORCH, pytest.mark.slow]),
    *[pytest.param(opset, {}, {}, marks=[*([OLD_TORCH] if opset >= 18 else []), pytest.mark.slow])
      for opset in (13, 14, 15, 16, 19, 21, 22, 23)],
])
def test_both_files_agree_with_pytorch(tmp_path, opset, network, options):
    reports = export(tmp_path, loud(**network), opset_version=opset, **options)
    assert list(reports) == ['encoder', 'decoder']
    for name, report in reports.items():
        assert report.onnx_file == tmp_path / f'model.{name}.onnx' and report.differences
        file = onnx.load(str(report.onnx_file))
        assert [entry.version for entry in file.opset_import if entry.domain == ''] == [opset]
        assert report.largest_difference < 1e-4
    objects = {entry.rows for entry in reports['decoder'].differences}
    assert objects == {1, 3}


def test_what_the_files_say(exported):
    model, reports = exported
    encoder, decoder = (reports[name].onnx_file for name in ('encoder', 'decoder'))
    assert axes(encoder) == dict(inputs=['batch', 3, 64, 64])
    assert axes(decoder) == dict(
        s16=[1, 32, 4, 4], s8=[1, 8, 8, 8], s4=[1, 4, 16, 16], point_coords=['objects', 'points', 2],
        point_labels=['objects', 'points'], mask_input=['objects', 1, 16, 16], has_mask_input=['objects'])
    first, second = metadata(encoder), metadata(decoder)
    for facts, part in ((first, 'encoder'), (second, 'decoder')):
        assert facts['part'] == part and facts['task'] == 'promptable_segmentation'
        assert facts['input_size'] == [64, 64] and facts['multimask'] == 'all'
        assert facts['preprocessing']['channel_order'] == 'RGB' and facts['preprocessing']['normalized_inside']
        np.testing.assert_allclose(facts['preprocessing']['mean'], [123.675, 116.28, 103.53], rtol=1e-6)
    assert first['weights'] == second['weights']
    assert list(first['outputs']) == ['s16', 's4', 's8']
    assert set(second['outputs']) == {'low_res_masks', 'ious', 'object_scores'}
    assert 'Resize' not in {node.op_type for node in onnx.load(str(encoder)).graph.node if 'trunk' in node.name}
    assert model.network.image_size == (64, 64) and 'position' not in dict(model.network.named_buffers())


@pytest.mark.parametrize('prompt', PROMPTS)
@pytest.mark.parametrize('several', [True, False])
def test_predictor_does_what_the_one_of_pytorch_does(exported, prompt, several):
    model, reports = exported
    predictors = ImagePredictor(model.network), OnnxImagePredictor(reports['encoder'].onnx_file, threads=1)
    found = []
    for predictor in predictors:
        predictor.set_image(image())
        found.append(predictor.predict(**PROMPTS[prompt], multimask_output=several, return_logits=True))
    assert found[0].masks.std() > 0.3
    for want, got in zip(*found):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-4)


def test_predictor_takes_images_of_any_sizes_and_few_objects_at_a_time(exported):
    model, reports = exported
    boxes = [[[1, 2, 30, 40], [5, 5, 20, 20], [0, 0, 35, 45]], [[1, 2, 30, 40]]]
    found = []
    for predictor in (ImagePredictor(model.network, max_sprinkle_area=9),
                      OnnxImagePredictor(reports['encoder'].onnx_file, reports['decoder'].onnx_file,
                                         objects_per_batch=2, max_sprinkle_area=9, threads=1)):
        predictor.set_images([image(), image(2, (70, 40))], channels='rgb')
        found.append(predictor.predict_batch(box=boxes))
    for want, got in zip(*found):
        torch.testing.assert_close(got.low_res_logits, want.low_res_logits, rtol=1e-5, atol=1e-4)
        assert got.masks.shape == want.masks.shape and (got.masks != want.masks).float().mean() < 1e-3


def test_files_of_one_batch_size_one_choice_grey_images_and_original_size(tmp_path):
    model = loud()
    reports = export(tmp_path, model, check=False, batch_size=2, input_channel=1, input_height=64, input_width=96,
                     model_options=dict(masks='single', output='original'))
    session, model.network.image_size = open_session(reports['decoder'].onnx_file), (64, 96)
    assert [entry.name for entry in session.get_outputs()] == ['masks', 'low_res_masks', 'ious', 'object_scores']
    predictors = ImagePredictor(model.network), OnnxImagePredictor(reports['encoder'].onnx_file, threads=1)
    found = []
    for predictor in predictors:
        predictor.set_images([image(seed)[..., :1].repeat(3, 2) for seed in range(3)])
        found.append(predictor.predict(box=[5, 6, 60, 40], multimask_output=False, image=2, return_logits=True))
    torch.testing.assert_close(found[1].masks, found[0].masks, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match=r"exported with masks='single'. Export it with .*masks='all'"):
        predictors[1].predict(box=[5, 6, 60, 40])
    inputs = {name: np.zeros([1 if isinstance(side, str) else side for side in shape], np.float32)
              for name, shape in axes(reports['decoder'].onnx_file).items()}
    inputs.update(point_labels=np.ones((1, 1), np.int64), orig_im_size=np.array([33, 71]))
    assert session.run(['masks'], inputs)[0].shape == (1, 1, 33, 71)


@pytest.mark.parametrize(('options', 'message'), [
    (dict(dynamic_size=True), 'dynamic_size=True: SAM 2 is exported for one size'),
    (dict(input_height=100), r'\(100, 64\) must be multiples of 32'),
    (dict(model_options=dict(masks='three')), "masks='three' is not one of single, several, all"),
    (dict(model_options=dict(output='full')), "output='full' is not one of low_res, original"),
    (dict(model_options=dict(output='original'), opset_version=18), 'needs export_cfg.opset_version up to 17, got 18'),
    (dict(on_cpu=False), 'SAM2 does not take on_cpu=False'),
])
def test_bad_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export(tmp_path, tiny_sam2(), **options)


def test_files_that_do_not_go_together(tmp_path, exported):
    encoder, decoder = (exported[1][name].onnx_file for name in ('encoder', 'decoder'))
    other = export(tmp_path, tiny_sam2(seed=1), check=False)['decoder'].onnx_file
    with pytest.raises(ValueError, match='of different exports: their weights are'):
        OnnxImagePredictor(encoder, other)
    with pytest.raises(ValueError, match='is the decoder of SAM 2; its encoder is wanted here'):
        OnnxImagePredictor(decoder, encoder)
    with pytest.raises(ValueError, match=r'found by the name \*.encoder.onnx only'):
        OnnxImagePredictor(decoder)
    with pytest.raises(FileNotFoundError, match=r'there is no such ONNX file'):
        OnnxImagePredictor(tmp_path / 'x.encoder.onnx')
    with pytest.raises(ValueError, match=r'segments by prompts: use maskforge.inference.OnnxImagePredictor'):
        OnnxModel(encoder)
    predictor = OnnxImagePredictor(encoder)
    with pytest.raises(ValueError, match='no image is set'):
        predictor.predict(box=[1, 2, 3, 4])
