"""Comparison of outputs: rows that change places, invalid rows, shapes, NaN."""
import numpy as np
import pytest
import torch

from maskforge.export.export_report import ExportReport
from maskforge.export.numerical_check import compare_outputs, open_session
from maskforge.structures import ExportSpec

SPEC = ExportSpec(module=torch.nn.Identity(), example_inputs=(), input_names=('images',),
                  output_names=('boxes', 'scores', 'masks'), valid_output='scores', tolerance=dict(boxes=0.1))
BOXES = np.array([[[0, 0, 9, 9], [5, 5, 7, 7], [1, 1, 1, 1]]], np.float32)
SCORES = np.array([[0.5, 0.5, 0.0]], np.float32)
MASKS = np.stack([np.full((28, 28), v, np.float32) for v in (0.1, 0.7, 0.3)])[None]


def differences(boxes=BOXES, scores=SCORES, masks=MASKS):
    return {entry.output: entry for entry in compare_outputs(SPEC, ['a.jpg'], [BOXES, SCORES, MASKS],
                                                             [boxes, scores, masks])}


def test_equal_outputs_pass():
    found = differences()
    assert all(entry.passed and entry.largest == 0 and entry.rows == 2 for entry in found.values())


def test_rows_of_equal_score_may_change_places():
    order = [1, 0, 2]
    assert all(entry.passed for entry in differences(BOXES[:, order], SCORES[:, order], MASKS[:, order]).values())
    assert not differences(BOXES[:, order], SCORES[:, order])['masks'].passed


def test_invalid_rows_are_not_compared():
    boxes = BOXES.copy()
    boxes[0, 2] += 100
    assert differences(boxes)['boxes'].passed


@pytest.mark.parametrize('change, output, note', [
    (dict(boxes=BOXES + 1), 'boxes', ''),
    (dict(boxes=BOXES * np.nan), 'boxes', ''),
    (dict(scores=np.array([[0.5, 0.5, 0.5]], np.float32)), 'scores', 'image 0: 3 valid rows instead of 2'),
    (dict(masks=MASKS[..., :14]), 'masks', r'shape'),
])
def test_what_fails(change, output, note):
    entry = differences(**change)[output]
    assert not entry.passed and note in entry.note
    report = ExportReport(onnx_file=__import__('pathlib').Path('x.onnx'), opset=17, differences=[entry])
    assert not report.passed and 'FAILED' in report.table()


def test_damaged_file_is_named(tmp_path):
    (tmp_path / 'x.onnx').write_bytes(b'no')
    with pytest.raises(ValueError, match=r'x\.onnx: onnxruntime cannot open this file'):
        open_session(tmp_path / 'x.onnx')
    with pytest.raises(FileNotFoundError, match='there is no such ONNX file'):
        open_session(tmp_path / 'y.onnx')


@pytest.mark.parametrize(('changed', 'passed'), [(0, True), (3, True), (4, False)])
def test_outputs_of_indices_may_differ_in_some_entries(changed, passed):
    spec = ExportSpec(module=torch.nn.Identity(), example_inputs=(), input_names=('images',),
                      output_names=('scores', 'class_map'), valid_output='scores', row_outputs=('scores', ),
                      differing=dict(class_map=0.003))
    ours = np.zeros((1, 20, 50), np.int32)
    theirs = ours.copy()
    theirs.flat[:changed] = 17
    entry = compare_outputs(spec, ['a.jpg'], [SCORES, ours], [SCORES, theirs])[1]
    assert (entry.passed, entry.tolerance, entry.rows) == (passed, 0.003, 1)
    assert entry.largest == pytest.approx(changed / 1000)
