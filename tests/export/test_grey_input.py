"""Files for grey images, files of dynamic size, and sets of rows whose order has no meaning: for every model."""
import cv2
import numpy as np
import pytest

from maskforge.export import ExportLoop, Preprocessing, open_session
from maskforge.export.numerical_check import compare_outputs
from maskforge.structures import ExportSpec


@pytest.mark.parametrize('dynamic', [False, True])
def test_a_grey_file_takes_one_channel_and_agrees_with_pytorch(runner, images, dynamic):
    report = ExportLoop(runner, input_channel=1, dynamic_size=dynamic, check_images=str(images)).run()
    size = ['height', 'width'] if dynamic else [48, 64]
    assert report.passed and open_session(report.onnx_file).get_inputs()[0].shape == ['batch', 1, *size]


def test_another_channel_count_is_an_error(runner):
    with pytest.raises(ValueError, match=r'export_cfg.input_channel=2 is neither 3 \(colour\) nor 1 \(grey\)'):
        ExportLoop(runner, input_channel=2)


def test_grey_preprocessing_is_the_colour_one_of_a_grey_image():
    grey = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    rules = [Preprocessing(mean=[10.0] * 3, scale=[15, 10], pad_size_divisor=8, channels=count) for count in (1, 3)]
    one, three = (rule.prepare(image)[0] for rule in rules)
    assert one.shape == (1, 16, 16) and (three == one).all()
    assert rules[0].stack([one, one]).shape == (2, 1, 16, 16)


@pytest.mark.parametrize(('pads', 'size', 'expected'), [
    (True, None, [[0, 1, 2, 3]]), (True, 2, [[0, 1], [2, 3]]), (False, None, [[0, 2, 3], [1]]),
    (False, 2, [[0, 2], [3], [1]])])
def test_groups_share_a_call(pads, size, expected):
    arrays = [np.zeros((3, *shape)) for shape in ((4, 6), (6, 4), (4, 6), (4, 6))]
    assert Preprocessing(pads=pads).groups(arrays, size) == expected


def test_without_padding_images_of_the_test_pipeline_are_stretched():
    rule = Preprocessing(pads=False, keep_ratio=False, input_size=[10, 20])
    array, factors = rule.fit(np.zeros((40, 40, 3), np.uint8))
    assert array.shape == (3, 10, 20) and factors == (0.5, 0.25)


@pytest.mark.parametrize(('changed', 'passed'), [(0.0, True), (0.01, False)])
def test_rows_of_a_set_may_change_places(changed, passed):
    random = np.random.default_rng(0)
    logits, boxes = random.normal(size=(2, 9, 30)), random.uniform(size=(2, 9, 4))
    order = random.permutation(9)
    spec = ExportSpec(module=None, example_inputs=(), input_names=['inputs'], output_names=['logits', 'boxes'],
                      unordered=('logits', 'boxes'), tolerance=dict(logits=1e-4, boxes=1e-4))
    found = compare_outputs(spec, ['a'], [logits, boxes], [logits[:, order] + changed, boxes[:, order]])
    assert [entry.passed for entry in found] == [passed, True]
    assert found[0].rows == 2
