"""Exported files: opsets, exporters, dynamic sizes, outputs, the plugin node; run beside PyTorch on real images."""
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config

from maskforge.export import ExportLoop, open_session
from maskforge.inference import OnnxModel
from maskforge.structures import DetDataSample

OLD_TORCH = pytest.mark.skipif(torch.__version__.startswith('2.6.'), reason="torch 2.6's dynamo exporter fixes axes")
CLASSES = ('cat', 'dog', 'bird')
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(160, 96), keep_ratio=True),
            dict(type='PackDetInputs')]


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    for name, size in (('a.png', (120, 90)), ('b.png', (90, 140))):
        cv2.imwrite(str(folder / name), cv2.resize(random.integers(0, 255, (6, 8, 3), np.uint8), size))
    return folder


@pytest.fixture
def export(make_random, pictures, tmp_path):
    """Runs an ExportLoop over a thin model; returns the report and the model."""
    def run(model_changes=None, **options):
        model = make_random(**{'num_feature_levels': 2, 'return_interm_indices': [3, 4], 'enc_layers': 1,
                               'num_select': 5, **(model_changes or {})})
        model.dataset_meta = dict(classes=CLASSES, category_ids=(5, 6, 7))
        cfg = Config(dict(test_dataloader=dict(dataset=dict(type='Any', pipeline=PIPELINE))))
        runner = SimpleNamespace(model=model, cfg=cfg, work_dir=str(tmp_path), _load_from=None, _resume=False)
        settings = dict(check_images=str(pictures), input_height=64, input_width=96) | options
        return ExportLoop(runner, **settings).run(), model

    return run


def operators(path):
    return {node.op_type for node in onnx.load(str(path)).graph.node}


@pytest.mark.parametrize(('opset', 'exporter', 'model_options'), [
    (12, 'auto', {}),
    (12, 'torchscript', dict(with_box_refine=True, two_stage=True)),
    (15, 'auto', dict(with_box_refine=True)),
    (17, 'auto', dict(with_box_refine=True, two_stage=True)),
    pytest.param(18, 'dynamo', dict(with_box_refine=True, two_stage=True), marks=[OLD_TORCH, pytest.mark.slow]),
    pytest.param(23, 'auto', {}, marks=[OLD_TORCH, pytest.mark.slow]),
])
def test_dynamic_files_agree_with_pytorch(export, opset, exporter, model_options):
    report, _ = export(model_options, opset_version=opset, exporter=exporter, dynamic_size=True,
                       model_options=dict(output='all'))
    file = onnx.load(str(report.onnx_file))
    assert [entry.version for entry in file.opset_import if entry.domain == ''] == [opset]
    assert ('GridSample' in operators(report.onnx_file)) == (opset >= 16)
    session = open_session(report.onnx_file)
    assert session.get_inputs()[0].name == 'inputs'
    assert session.get_inputs()[0].shape == ['batch', 3, 'height', 'width']
    assert {(len(entry.images), entry.images[0]) for entry in report.differences} == {
        (1, 'a.png'), (1, 'b.png'), (2, 'a.png'), (2, 'b.png')}
    assert report.passed
    assert max(e.largest for e in report.differences if e.output in ('pred_logits', 'pred_boxes', 'scores')) < 1e-4


@pytest.mark.parametrize(('output', 'names'), [
    ('raw', ['pred_logits', 'pred_boxes']), ('detections', ['boxes', 'scores', 'labels']),
    ('all', ['pred_logits', 'pred_boxes', 'boxes', 'scores', 'labels'])])
def test_outputs(export, output, names):
    report, _ = export(opset_version=17, check=False, model_options=dict(output=output))
    file = OnnxModel(report.onnx_file)
    assert file.output_names == names and set(file.metadata['outputs']) == set(names)


def test_an_unknown_output_is_an_error(make):
    with pytest.raises(ValueError, match=r"model_options.output='boxes' is not one of raw, detections, all"):
        make().export_spec(height=64, width=96, output='boxes')


def test_fixed_files_have_fixed_axes_and_stretch_images(export, pictures):
    report, _ = export(opset_version=17, batch_size=2)
    assert report.passed
    model = OnnxModel(report.onnx_file)
    assert model.session.get_inputs()[0].shape == [2, 3, 64, 96]
    array, factors = model.preprocessing.prepare(cv2.imread(str(pictures / 'a.png')))
    assert array.shape == (3, 64, 96)
    assert factors == (96 / 120, 64 / 90)
    # no padding anywhere: the last column is image
    assert (array[:, :, -1].std(axis=1) > 0).all()


def test_raw_files_predict_what_pytorch_predicts(export, pictures):
    report, model = export(opset_version=17, dynamic_size=True)
    file = OnnxModel(report.onnx_file)
    pixels = cv2.imread(str(pictures / 'b.png'))
    array, factors = file.preprocessing.prepare(pixels)
    found = file.to_instances(file.run([array])[0], factors, pixels.shape[:2])
    sample = DetDataSample(metainfo=dict(img_shape=array.shape[1:], ori_shape=pixels.shape[:2]))
    normal = model.data_preprocessor.normalise(torch.from_numpy(array)[None])
    wanted = model(normal, [sample], mode='predict')[0].pred_instances
    assert len(found) == len(wanted) == 5
    torch.testing.assert_close(found.scores, wanted.scores, atol=1e-4, rtol=0)
    assert found.labels.tolist() == wanted.labels.tolist()
    torch.testing.assert_close(found.bboxes, wanted.bboxes, atol=0.05, rtol=0)


def test_images_of_several_sizes_are_not_padded_into_one_batch(export):
    report, _ = export(opset_version=17, dynamic_size=True, check=False)
    file = OnnxModel(report.onnx_file)
    random = np.random.default_rng(0)
    arrays = [random.uniform(0, 255, (3, *size)).astype(np.float32) for size in ((64, 96), (96, 64), (64, 96))]
    together, alone = file.run(arrays), [file.run([array])[0] for array in arrays]
    for left, right in zip(together, alone):
        np.testing.assert_allclose(left['pred_boxes'], right['pred_boxes'], atol=1e-5)


def test_scores_below_the_models_threshold_are_empty_rows(export, pictures):
    report, _ = export(dict(conf_threshold=0.5), opset_version=17, model_options=dict(output='detections'))
    file = OnnxModel(report.onnx_file)
    scores = file.run([file.preprocessing.prepare(cv2.imread(str(pictures / 'a.png')))[0]])[0]['scores']
    assert ((scores >= 0.5) | (scores == 0)).all()


@pytest.mark.parametrize('channels', [1, 3])
def test_input_channel(export, channels, pictures):
    report, _ = export(opset_version=17, input_channel=channels)
    file = OnnxModel(report.onnx_file)
    assert report.passed and file.session.get_inputs()[0].shape[1] == channels
    assert file.preprocessing.prepare(cv2.imread(str(pictures / 'a.png')))[0].shape == (channels, 64, 96)


@pytest.mark.parametrize('dynamic', [False, True])
def test_plugin_node_has_the_plugins_inputs_and_attributes(export, dynamic):
    report, _ = export(opset_version=12, on_cpu=False, dynamic_size=dynamic)
    assert not report.differences and 'nvidia' in report.skipped
    file = onnx.load(str(report.onnx_file))
    nodes = [node for node in file.graph.node if node.op_type == 'MultiscaleDeformableAttnPlugin_TRT']
    assert len(nodes) == 3 and all(node.domain == 'nvidia' and len(node.input) == 5 for node in nodes)
    attributes = {entry.name: entry.s.decode() for entry in nodes[0].attribute}
    assert attributes == dict(name='MultiscaleDeformableAttnPlugin_TRT', plugin_version='1', plugin_namespace='')
    assert not {'GridSample', 'GatherElements'} & operators(report.onnx_file)
    facts = {entry.key: entry.value for entry in file.metadata_props}['maskforge']
    assert '"classes": ["cat", "dog", "bird"]' in facts and '"category_ids": [5, 6, 7]' in facts


def test_plugin_version(make):
    assert make().export_spec(height=64, width=96, on_cpu=False, plugin_version='2').plugins == ('nvidia',)
    with pytest.raises(ValueError, match="plugin_version='3' is not one of 1, 2"):
        make().export_spec(height=64, width=96, on_cpu=False, plugin_version='3')


@pytest.mark.parametrize('options', [dict(opset_version=21), dict(opset_version=18, exporter='dynamo')])
def test_plugin_nodes_need_the_torchscript_exporter(export, options):
    with pytest.raises(ValueError, match=r'plugin nodes are written by the TorchScript exporter, which ends at opset'):
        export(on_cpu=False, **options)


def test_on_cpu_makes_no_cuda_call(export, monkeypatch):
    def refuse(*_):
        raise AssertionError('CUDA was touched')

    monkeypatch.setattr(torch.cuda, 'set_device', refuse)
    monkeypatch.setattr(torch.cuda, '_lazy_init', refuse)
    assert export(opset_version=17, check=False)[0].onnx_file.is_file()


def test_an_existing_file_is_replaced(export, tmp_path):
    (tmp_path / 'old.onnx').write_bytes(b'old')
    report, _ = export(opset_version=17, onnx_file=str(tmp_path / 'old.onnx'), check=False)
    assert open_session(report.onnx_file) and report.onnx_file == tmp_path / 'old.onnx'
