"""ExportLoop: the file, its opset, metadata, the numerical check and the errors."""
import io
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from maskforge.export import ExportLoop, open_session, parse_metadata
from maskforge.registry import LOOPS

# what it does there instead is tested below
OLD_TORCH = pytest.mark.skipif(torch.__version__.startswith('2.6.'), reason="torch 2.6's dynamo exporter fixes axes")


@pytest.mark.parametrize('opset', [16, 17, pytest.param(18, marks=OLD_TORCH), pytest.param(20, marks=OLD_TORCH)])
def test_file_has_the_opset_asked_for_and_agrees_with_pytorch(runner, images, opset, capfd):
    report = ExportLoop(runner, opset_version=opset, check_images=[str(images)], num_check_images=3).run()
    model = onnx.load(str(report.onnx_file))
    assert [entry.version for entry in model.opset_import if entry.domain == ''] == [opset]
    assert report.onnx_file.name == 'toy.onnx' and report.passed
    assert {entry.output for entry in report.differences} == {'boxes', 'scores', 'labels', 'masks'}
    assert all(entry.rows >= 5 for entry in report.differences)
    assert report.largest_difference < 1e-3
    assert 'ONNX against PyTorch' in report.table()
    noise = capfd.readouterr()
    assert 'TorchScript' not in noise.err + noise.out and 'Warning' not in noise.err


def test_metadata_tells_classes_and_preprocessing(runner, images):
    report = ExportLoop(runner, check_images=str(images)).run()
    properties = {entry.key: entry.value for entry in onnx.load(str(report.onnx_file)).metadata_props}
    facts = json.loads(properties['maskforge'])
    assert facts['task'] == 'instance_segmentation'
    assert facts['classes'] == ['a', 'b', 'c', 'd'] and facts['category_ids'] == [3, 5, 7, 9]
    rule = facts['preprocessing']
    assert rule['channel_order'] == 'RGB' and rule['normalized_inside']
    assert rule['mean'] == [120, 110, 100] and rule['scale'] == [64, 48] and rule['pad_size_divisor'] == 8
    assert rule['input_size'] == [48, 64]
    assert parse_metadata(properties, path='x') == facts
    with pytest.raises(ValueError, match=r"x\.onnx has no 'maskforge' metadata"):
        parse_metadata({}, path='x.onnx')


@pytest.mark.parametrize('batch_size, dynamic_size, shape', [
    (-1, False, ['batch', 3, 48, 64]), (2, False, [2, 3, 48, 64]), (-1, True, ['batch', 3, 'height', 'width'])])
def test_dynamic_axes(runner, images, batch_size, dynamic_size, shape):
    report = ExportLoop(runner, batch_size=batch_size, dynamic_size=dynamic_size, check_images=str(images),
                        num_check_images=3).run()
    assert open_session(report.onnx_file).get_inputs()[0].shape == shape
    assert report.passed


@pytest.mark.parametrize('dynamic', [False, pytest.param(True, marks=OLD_TORCH)])
def test_dynamo_with_dynamic_batch_runs_other_batches(runner, images, dynamic):
    report = ExportLoop(runner, opset_version=18, batch_size=-1 if dynamic else 1, check_images=str(images)).run()
    session = open_session(report.onnx_file)
    count = 5 if dynamic else 1
    assert session.run(None, {'images': np.zeros((count, 3, 48, 64), np.float32)})[0].shape == (count, 5, 4)


def test_failed_check_is_an_error_and_renames_the_file(runner, images):
    loop = ExportLoop(runner, check_images=str(images))
    original = runner.model.export_spec

    class Drifting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = runner.model.cells

        def forward(self, x):
            boxes, *rest = self.inner(x)
            return boxes + (0 if torch.onnx.is_in_onnx_export() else 1.5), *rest

    runner.model.export_spec = lambda *, height, width, batch_size: replace(
        original(height=height, width=width, batch_size=batch_size), module=Drifting())
    with pytest.raises(RuntimeError, match=r'PyTorch in boxes \(largest difference 1\.5.*toy\.failed\.onnx'):
        loop.run()
    assert not (loop._target()).exists() and loop._target().with_suffix('.failed.onnx').exists()


def test_opset_that_the_exporter_cannot_write_is_an_error(runner, images):
    with pytest.raises(RuntimeError, match=r'would have opset 18, but export_cfg\.opset_version=16 was asked for'):
        ExportLoop(runner, opset_version=16, exporter='dynamo', check_images=str(images)).run()


@pytest.mark.parametrize('options, error, message', [
    (dict(opset_version=3), ValueError, 'opset_version=3 is not in 11 to'),
    (dict(exporter='magic'), ValueError, "exporter='magic' is not 'auto'"),
    (dict(input_height=50, input_width=64), ValueError, 'must be multiples of .* pad_size_divisor=8'),
    (dict(model_options=dict(sharpness=2)), ValueError, 'ToyDetector does not take sharpness=2'),
    (dict(on_cpu=False), ValueError, 'ToyDetector does not take on_cpu=False'),
    (dict(check_images='nowhere.jpg'), FileNotFoundError, "there is no file 'nowhere.jpg'"),
])
def test_bad_options(runner, images, options, error, message):
    with pytest.raises(error, match=message):
        ExportLoop(runner, **dict(check_images=str(images)) | options).run()


def test_an_axis_that_was_fixed_in_silence_is_an_error(runner, images, monkeypatch):
    def fixed(onnx, spec, opset):
        content = io.BytesIO()
        torch.onnx.export(spec.module, spec.example_inputs, content, opset_version=opset, dynamo=False,
                          input_names=list(spec.input_names), output_names=list(spec.output_names))
        return onnx.load_model_from_string(content.getvalue())
    monkeypatch.setattr('maskforge.export.onnx_writer._export_torchscript', fixed)
    with pytest.raises(RuntimeError, match=r'fixed axis 0 \(batch\) of images, which should be dynamic'):
        ExportLoop(runner, input_height=32, input_width=32, check_images=images, opset_version=17).run()


@pytest.mark.parametrize('options, message', [
    (dict(batch_size=0), 'batch_size=0 must be -1'), (dict(input_channel=2), 'input_channel=2')])
def test_bad_arguments(runner, options, message):
    with pytest.raises(ValueError, match=message):
        ExportLoop(runner, **options)


def test_no_images_says_what_to_set(runner):
    runner.cfg.test_dataloader = None
    with pytest.raises(FileNotFoundError, match=r'check_images=.*check=False'):
        ExportLoop(runner, input_height=48, input_width=64).run()


def test_check_can_be_skipped_and_says_so(runner):
    report = ExportLoop(runner, check=False).run()
    assert report.skipped == 'export_cfg.check=False' and report.onnx_file.exists() and not report.differences


def test_model_without_export_spec(runner):
    runner.model = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match='Linear cannot be exported: it has no export_spec'):
        ExportLoop(runner).run()


def test_missing_onnx_names_the_extra(runner, images, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnx', None)
    with pytest.raises(ImportError, match=r'pip install maskforge\[export\]'):
        ExportLoop(runner, check_images=str(images)).run()


def test_is_registered_and_config_file_names_the_target(runner, tmp_path):
    loop = LOOPS.build(dict(type='ExportLoop', onnx_file=str(tmp_path / 'deep' / 'x.onnx'), check=False),
                       default_args=dict(runner=runner))
    assert loop.run().onnx_file == tmp_path / 'deep' / 'x.onnx'
    assert sorted(entry.name for entry in (tmp_path / 'deep').iterdir()) == ['x.check.json', 'x.onnx']
