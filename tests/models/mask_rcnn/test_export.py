import numpy as np
import pytest
import torch
from tiny_rcnn import make_batch, make_sample

from maskforge.registry import MODELS

ort = pytest.importorskip('onnxruntime')
SIZE = dict(height=96, width=128)


@pytest.fixture
def decided(config):
    """A model whose scores and boxes vary, so that suppression has work to do."""
    torch.manual_seed(0)
    model = MODELS.build(config)
    for name, parameter in model.named_parameters():
        if name.endswith(('fc_cls.weight', 'rpn_cls.weight')):
            torch.nn.init.normal_(parameter, std=0.3)
        elif name.endswith(('fc_reg.weight', 'rpn_reg.weight')):
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def to_input(sample):
    """A sample's image as the exported module takes it."""
    return sample[0].flip(0).float()[None]


def test_equals_predict_where_nothing_is_padded_or_resized(decided):
    decided.roi_head.test_cfg.max_per_img = 10
    sample = make_sample([[10., 10, 60, 70]], [0])
    module = decided.export_spec(**SIZE).module
    with torch.no_grad():
        boxes, scores, labels, masks = module(to_input(sample))
    found = decided.val_step(make_batch(sample))[0].pred_instances
    assert len(found) == 10 and masks.shape == (1, 10, 28, 28)
    torch.testing.assert_close(boxes[0], found.bboxes, atol=1e-3, rtol=0)
    torch.testing.assert_close(scores[0], found.scores, atol=1e-5, rtol=0)
    assert torch.equal(labels[0], found.labels)


def test_images_of_a_batch_do_not_touch_each_other(decided):
    module = decided.export_spec(**SIZE).module
    images = torch.rand(3, 3, 96, 128) * 255
    with torch.no_grad():
        together = module(images)
        alone = [module(image[None]) for image in images]
    for index, parts in enumerate(zip(*alone)):
        for image, single in enumerate(parts):
            torch.testing.assert_close(together[index][image], single[0], atol=1e-3, rtol=1e-3)


def test_empty_rows_have_score_zero(decided):
    decided.roi_head.test_cfg.score_thr = 0.9999
    with torch.no_grad():
        boxes, scores, *_ = decided.export_spec(**SIZE).module(torch.rand(1, 3, 96, 128) * 255)
    assert scores.shape == (1, 20) and (scores == 0).all() and (boxes == 0).all()


def run_onnx(spec, path, images):
    session = ort.InferenceSession(str(path))
    got = session.run(None, {'images': images.numpy()})
    with torch.no_grad():
        want = spec.module(images)
    for name, a, b in zip(spec.output_names, want, got):
        assert np.abs(a.numpy() - b).max() <= spec.tolerance[name], name
    assert (want[1] > 0).sum() > 10


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('opset', [11, 16, 17])
def test_the_file_gives_the_same_numbers_in_onnxruntime(decided, tmp_path, opset):
    spec = decided.export_spec(**SIZE, opset_version=opset)
    torch.onnx.export(spec.module, spec.example_inputs, str(tmp_path / 'm.onnx'), input_names=spec.input_names,
                      output_names=spec.output_names, dynamic_axes=spec.dynamic_axes, opset_version=opset, dynamo=False)
    for batch in (1, 3):
        run_onnx(spec, tmp_path / 'm.onnx', torch.rand(batch, 3, 96, 128) * 255)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_the_newer_exporter_gives_the_same_numbers(decided, tmp_path):
    spec = decided.export_spec(**SIZE, opset_version=18)
    torch.onnx.export(spec.module, spec.example_inputs, str(tmp_path / 'm.onnx'), input_names=spec.input_names,
                      output_names=spec.output_names, opset_version=18, dynamo=True,
                      dynamic_shapes=({0: torch.export.Dim('batch', min=1, max=64)},))
    for batch in (1, 3):
        run_onnx(spec, tmp_path / 'm.onnx', torch.rand(batch, 3, 96, 128) * 255)


def test_metadata_and_fixed_batches(decided):
    decided.dataset_meta = dict(classes=('a', 'b', 'c'), category_ids=(3, 5, 9), palette=[(1, 2, 3)] * 3)
    spec = decided.export_spec(**SIZE, batch_size=2)
    assert not spec.dynamic_axes and spec.example_inputs[0].shape == (2, 3, 96, 128)
    assert spec.valid_output == 'scores'
    facts = spec.metadata
    assert facts['task'] == 'instance_segmentation' and facts['category_ids'] == [3, 5, 9]
    assert facts['preprocessing']['channel_order'] == 'RGB' and facts['preprocessing']['pad_value'] == [120.0] * 3


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(height=90, width=128), r'\(90, 128\) must be multiples of data_preprocessor.pad_size_divisor=32'),
    (dict(**SIZE, batch_size=0), 'or -1 for a dynamic batch; got 0')])
def test_bad_sizes(decided, arguments, message):
    with pytest.raises(ValueError, match=message):
        decided.export_spec(**arguments)
