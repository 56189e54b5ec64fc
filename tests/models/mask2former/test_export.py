"""Exported files: modes, outputs, opsets, dynamic sizes, the plugin node; run beside PyTorch on pictures."""
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config

from maskforge.export import ExportLoop, open_session
from maskforge.inference import Inferencer, OnnxModel
from maskforge.models.mask2former.export_outputs import instance_outputs, panoptic_outputs, semantic_outputs
from maskforge.models.mask2former.postprocess import PostprocessSettings, add_predictions
from maskforge.structures import DetDataSample

OLD_TORCH = pytest.mark.skipif(torch.__version__.startswith('2.6.'), reason="torch 2.6's dynamo exporter fixes axes")
MODES = ('panoptic', 'instance', 'semantic')
CLASSES, IS_THING = ('cat', 'dog', 'sky', 'grass', 'bird'), (True, True, False, False, True)
META = dict(classes=CLASSES, category_ids=(5, 6, 7, 8, 9), is_thing=IS_THING, palette=[(9, 8, 7)] * 5)
FINISHED = dict(panoptic=['panoptic_map', 'segment_scores', 'segment_labels'],
                instance=['boxes', 'scores', 'labels', 'masks'], semantic=['semantic_map', 'semantic_scores'])
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(160, 96), keep_ratio=True),
            dict(type='PackDetInputs')]
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2))
EFFICIENTVIT = dict(type='EfficientViT', widths=(8, 8, 16, 16, 32), depths=(1, 1, 1, 1, 1), head_dim=8)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    for name, size in (('a.png', (120, 90)), ('b.png', (90, 140))):
        cv2.imwrite(str(folder / name), cv2.resize(random.integers(0, 255, (6, 8, 3), np.uint8), size))
    return folder


@pytest.fixture
def make_random(make):
    """A thin model whose queries differ, with masks of many shapes."""
    def build(**options):
        model = make(**{'num_classes': 5, 'mode': MODES, 'object_mask_threshold': 0.3, 'overlap_threshold': 0.37,
                        'topk_per_image': 8, **options})
        torch.manual_seed(3)
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                gain = 4.0 if 'class_embed' in name or 'query' in name else 1.5
                torch.nn.init.normal_(parameter, std=gain / parameter[0].numel()**0.5)
        model.dataset_meta = META
        return model.eval()

    return build


@pytest.fixture
def export(make_random, pictures, tmp_path):
    """Runs an ExportLoop over a thin model; returns the report and the model."""
    def run(model_changes=None, **options):
        model = make_random(**(model_changes or {}))
        cfg = Config(dict(test_dataloader=dict(dataset=dict(type='Any', pipeline=PIPELINE))))
        runner = SimpleNamespace(model=model, cfg=cfg, work_dir=str(tmp_path), _load_from=None, _resume=False)
        settings = dict(check_images=str(pictures), input_height=96, input_width=128) | options
        return ExportLoop(runner, **settings).run(), model

    return run


def operators(path):
    return {node.op_type for node in onnx.load(str(path)).graph.node}


@pytest.mark.parametrize(('opset', 'exporter', 'dynamic'), [
    (12, 'auto', True),
    (15, 'auto', False),
    (17, 'auto', True),
    pytest.param(18, 'dynamo', True, marks=[OLD_TORCH, pytest.mark.slow]),
    pytest.param(18, 'torchscript', False, marks=pytest.mark.slow),
    *[pytest.param(opset, 'auto', True, marks=[*([OLD_TORCH] if opset >= 18 else []), pytest.mark.slow])
      for opset in (13, 14, 16, 19, 20, 21, 22, 23)],
])
def test_all_modes_agree_with_pytorch(export, opset, exporter, dynamic):
    report, _ = export(opset_version=opset, exporter=exporter, dynamic_size=dynamic, model_options=dict(output='all'))
    file = onnx.load(str(report.onnx_file))
    assert [entry.version for entry in file.opset_import if entry.domain == ''] == [opset]
    assert ('GridSample' in operators(report.onnx_file)) == (opset >= 16)
    entry = open_session(report.onnx_file).get_inputs()[0]
    assert entry.name == 'inputs'
    assert entry.shape == (['batch', 3, 'height', 'width'] if dynamic else ['batch', 3, 96, 128])
    assert {(len(entry.images), entry.images[0]) for entry in report.differences} == {
        (1, 'a.png'), (1, 'b.png'), (2, 'a.png')}
    assert report.passed
    worst = {name: max(e.largest for e in report.differences if e.output == name) for name in
             (e.output for e in report.differences)}
    assert max(worst[name] for name in ('pred_logits', 'scores', 'segment_scores', 'semantic_scores')) < 1e-3
    assert max(worst[name] for name in ('semantic_map', 'panoptic_map', 'masks')) < 1e-3
    assert min(e.rows for e in report.differences if e.output == 'scores') > 0


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('output', ['raw', 'masks', 'all'])
def test_outputs_follow_the_mode(make_random, mode, output):
    spec = make_random(mode=mode).export_spec(height=64, width=96, batch_size=2, output=output)
    raw = ['pred_logits', 'pred_masks']
    assert spec.output_names == (raw if output != 'masks' else []) + (FINISHED[mode] if output != 'raw' else [])
    assert set(spec.metadata['outputs']) == set(spec.output_names)
    shapes = dict(
        pred_logits=(2, 10, 6), pred_masks=(2, 10, 16, 24), panoptic_map=(2, 64, 96), segment_scores=(2, 10),
        segment_labels=(2, 10), boxes=(2, 8, 4), scores=(2, 8), labels=(2, 8), masks=(2, 8, 64, 96),
        semantic_map=(2, 64, 96), semantic_scores=(2, 64, 96))
    found = dict(zip(spec.output_names, spec.module(*spec.example_inputs)))
    assert {name: tuple(value.shape) for name, value in found.items()} == {name: shapes[name] for name in found}


@pytest.mark.parametrize(('options', 'model', 'message'), [
    (dict(output='boxes'), {}, r"model_options.output='boxes' is not one of raw, masks, all"),
    (dict(output='all'), dict(dedup_iou=0.5), r'the file cannot drop duplicates as model.dedup_iou=0.5 asks for'),
    (dict(height=90), {}, r'\(90, 96\) must be multiples of 32'),
    (dict(batch_size=0), {}, 'batch_size must be positive, or -1'),
    (dict(on_cpu=False, plugin_version='3'), {}, "plugin_version='3' is not one of 1, 2")])
def test_bad_options(make_random, options, model, message):
    with pytest.raises(ValueError, match=message):
        make_random(**model).export_spec(**{'height': 64, 'width': 96, **options})


def test_metadata(export):
    report, _ = export(opset_version=17, check=False)
    file = OnnxModel(report.onnx_file)
    assert file.metadata['task'] == 'segmentation'
    assert tuple(file.metadata['postprocess']['mode']) == MODES
    assert {key: file.dataset_meta[key] for key in META} == META
    rule = file.preprocessing
    assert (rule.pads, rule.keep_ratio, rule.pad_size_divisor, rule.input_size) == (True, True, 32, [96, 128])
    assert rule.prepare(np.zeros((60, 20, 3), np.uint8))[0].shape == (3, 96, 128)


# --- the finished outputs against the post-processing of PyTorch


@pytest.fixture
def found():
    """Random logits of three images: many queries of few classes, masks from nothing to everything."""
    torch.manual_seed(7)
    coarse = torch.randn(3, 30, 4, 5) * 4 + torch.linspace(-9, 3, 30)[:, None, None]
    masks = torch.nn.functional.interpolate(coarse, size=(16, 24), mode='bilinear')
    return torch.randn(3, 30, 6) * 4, masks


def in_pytorch(found, settings):
    """``add_predictions`` where the image fills the input."""
    shape = dict(img_shape=(64, 96), ori_shape=(64, 96), batch_input_shape=(64, 96))
    return add_predictions(*found, [DetDataSample(metainfo=shape) for _ in range(3)], settings, is_thing=IS_THING)


def upsampled(found):
    logits = torch.nn.functional.interpolate(found[1], size=(64, 96), mode='bilinear', align_corners=False)
    return logits, logits.sigmoid()


FLAGS = torch.tensor([*IS_THING, True])


@pytest.mark.parametrize('keep_no_object', [False, True])
@pytest.mark.parametrize(('least_score', 'least_share'), [(0., 0.), (0.5, 0.3), (0.6, 0.8), (1., 0.)])
def test_panoptic_map_is_pytorchs(found, keep_no_object, least_score, least_share):
    settings = PostprocessSettings(mode=('panoptic', ), object_mask_threshold=least_score,
                                   overlap_threshold=least_share, keep_no_object=keep_no_object)
    maps, scores, labels = panoptic_outputs(found[0], upsampled(found)[1], settings, FLAGS).values()
    for image, sample in enumerate(in_pytorch(found, settings)):
        wanted = sample.pred_panoptic
        assert (maps[image].numpy() == wanted.segments).mean() > 0.999
        assert labels[image][:len(wanted)].tolist() == wanted.labels.tolist()
        np.testing.assert_allclose(scores[image][:len(wanted)], wanted.scores, atol=1e-6)
        assert not scores[image][len(wanted):].any() and not labels[image][len(wanted):].any()
    if least_score == 0.:
        assert maps.max() > 5 and (torch.bincount(labels[0])[2:4] <= 1).all()


@pytest.mark.parametrize(('mode', 'options'), [
    (('instance', ), {}), (('panoptic', 'instance'), {}), (('instance', ), dict(score_threshold=0.4)),
    (('instance', ), dict(topk_per_image=1000)), (('instance', ), dict(boxes_from_masks=False))])
def test_instances_are_pytorchs(found, mode, options):
    settings = PostprocessSettings(mode=mode, **{'topk_per_image': 40, **options})
    wanted_classes = FLAGS if 'panoptic' in mode else torch.ones_like(FLAGS)
    boxes, scores, labels, masks = instance_outputs(found[0], *upsampled(found), settings, wanted_classes).values()
    assert (scores.diff() <= 0).all() and masks.dtype == torch.uint8
    for image, sample in enumerate(in_pytorch(found, settings)):
        wanted = sample.pred_instances
        assert (scores[image] > 0).sum() == len(wanted) > 0
        rows = slice(len(wanted))
        torch.testing.assert_close(scores[image][rows], wanted.scores, atol=1e-5, rtol=0)
        assert labels[image][rows].tolist() == wanted.labels.tolist()
        torch.testing.assert_close(boxes[image][rows], wanted.bboxes.float())
        assert (masks[image][rows].numpy() == wanted.masks.to_bitmaps()).mean() > 0.9999
        assert not masks[image][len(wanted):].any() and not boxes[image][len(wanted):].any()


def test_semantic_map_is_pytorchs(found):
    maps, scores = semantic_outputs(found[0], upsampled(found)[1]).values()
    for image, sample in enumerate(in_pytorch(found, PostprocessSettings(mode=('semantic', )))):
        assert (maps[image] == sample.pred_sem_seg.sem_seg[0]).float().mean() > 0.999
    assert scores.min() >= 0 and len(maps.unique()) > 2


# --- files in the place of the model


@pytest.mark.parametrize(('dynamic', 'size'), [(True, (160, 96)), (False, None)])
def test_raw_files_predict_what_pytorch_predicts(export, pictures, dynamic, size):
    report, model = export(opset_version=17, dynamic_size=dynamic)
    samples = Inferencer(report.onnx_file)(str(pictures))
    file = OnnxModel(report.onnx_file)
    for name, sample in zip(('a.png', 'b.png'), samples):
        pixels = cv2.imread(str(pictures / name))
        array, factors = file.preprocessing.prepare(pixels)
        inner = tuple(round(side * factor) for side, factor in zip(pixels.shape, factors[::-1]))
        frame = DetDataSample(metainfo=dict(img_shape=inner, ori_shape=pixels.shape[:2],
                                            batch_input_shape=array.shape[1:]))
        normal = model.data_preprocessor.normalise(torch.from_numpy(array)[None])
        wanted = model(normal, [frame], mode='predict')[0]
        assert sample.pred_sem_seg.sem_seg.shape[1:] == pixels.shape[:2]
        assert (sample.pred_sem_seg.sem_seg == wanted.pred_sem_seg.sem_seg).float().mean() >= 0.999
        assert (sample.pred_panoptic.segments == wanted.pred_panoptic.segments).mean() >= 0.999
        np.testing.assert_allclose(sample.pred_panoptic.scores, wanted.pred_panoptic.scores, atol=1e-3)
        torch.testing.assert_close(sample.pred_instances.scores, wanted.pred_instances.scores, atol=1e-3, rtol=0)
        assert sample.pred_instances.labels.tolist() == wanted.pred_instances.labels.tolist()


def test_finished_files_predict_nearly_the_same(export, pictures, tmp_path):
    options = dict(opset_version=17, dynamic_size=True, check=False)
    raw = Inferencer(export(**options, onnx_file=str(tmp_path / 'raw.onnx'))[0].onnx_file)(str(pictures))
    finished = Inferencer(export(**options, model_options=dict(output='masks'))[0].onnx_file)(
        str(pictures), out_dir=tmp_path / 'drawn')
    for left, right in zip(raw, finished):
        assert (left.pred_sem_seg.sem_seg == right.pred_sem_seg.sem_seg).float().mean() > 0.95
        # the first segments, by area: their numbers may differ
        assert abs(len(left.pred_panoptic) - len(right.pred_panoptic)) <= 1
        masks, others = left.pred_instances.masks, right.pred_instances.masks
        assert abs(len(masks) - len(others)) <= 1
        assert others.height == masks.height and others.width == masks.width
        np.testing.assert_allclose(others.bboxes(), right.pred_instances.bboxes)
    assert {path.name for path in (tmp_path / 'drawn').iterdir()} >= {'panoptic.json', 'semantic', 'predictions.json'}


def test_images_of_several_sizes_share_a_call(export, pictures):
    file = Inferencer(export(opset_version=17, dynamic_size=True, check=False)[0].onnx_file)
    for sample, name in zip(file(str(pictures), batch_size=2), ('a.png', 'b.png')):
        assert sample.pred_panoptic.segments.shape == cv2.imread(str(pictures / name)).shape[:2]


def test_a_file_without_the_outputs_of_its_mode_is_an_error(export, tmp_path):
    report, _ = export(dict(mode='instance'), opset_version=17, check=False)
    file = onnx.load(str(report.onnx_file))
    del file.graph.output[1]
    onnx.save(file, str(tmp_path / 'cut.onnx'))
    with pytest.raises(ValueError, match=r'cut.onnx has the outputs pred_logits; segmentation needs pred_logits, '
                                         r'pred_masks, or boxes, scores, labels, masks as well'):
        OnnxModel(tmp_path / 'cut.onnx')


@pytest.mark.parametrize('dynamic', [False, True])
def test_plugin_nodes(export, dynamic):
    report, _ = export(dict(enc_layers=2), opset_version=12, on_cpu=False, dynamic_size=dynamic)
    assert not report.differences and 'nvidia' in report.skipped
    nodes = [node for node in onnx.load(str(report.onnx_file)).graph.node
             if node.op_type == 'MultiscaleDeformableAttnPlugin_TRT']
    assert len(nodes) == 2 and all(node.domain == 'nvidia' and len(node.input) == 5 for node in nodes)
    assert not {'GridSample', 'GatherElements'} & operators(report.onnx_file)


@pytest.mark.parametrize(('backbone', 'opset', 'dynamic'), [
    (SWIN, 12, False), (EFFICIENTVIT, 17, True),
    pytest.param(SWIN, 17, True, marks=pytest.mark.slow), pytest.param(EFFICIENTVIT, 12, True, marks=pytest.mark.slow),
    pytest.param(SWIN, 18, False, marks=[OLD_TORCH, pytest.mark.slow]),
    pytest.param(EFFICIENTVIT, 18, True, marks=[OLD_TORCH, pytest.mark.slow])])
def test_other_backbones(export, backbone, opset, dynamic):
    report, _ = export(dict(whole_backbone=backbone), opset_version=opset, dynamic_size=dynamic)
    assert report.passed and report.differences
