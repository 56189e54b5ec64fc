"""Files per image: KITTI labels, colours of classes, thresholds; from the job, from Python and resumed."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.formats.kitti import read_kitti_labels
from maskforge.inference import Inferencer, run_inference
from maskforge.inference.image_outputs import ImageOutputs, kitti_objects
from maskforge.inference.predictor import TorchPredictor
from maskforge.structures import DetDataSample

RED, GREEN = (0, 0, 255), (0, 255, 0)  # BGR, as files are read


@pytest.fixture
def sample():
    """A cat, a dog and something without a name."""
    boxes = torch.tensor([[10.0, 10, 30, 30], [40, 10, 60, 30], [70, 10, 90, 30]])
    found = InstanceData(bboxes=boxes, scores=torch.tensor([0.9, 0.6, 0.4]), labels=torch.tensor([0, 1, 2]))
    return DetDataSample(metainfo=dict(ori_shape=(50, 100), img_id=1), pred_instances=found)


def drawn(sample, **options):
    picture = ImageOutputs(**options).draw(np.full((50, 100, 3), 128, np.uint8), sample,
                                           dict(classes=('traffic light', 'dog', 'bird')))
    return {name: (picture == color).all(-1) for name, color in (('red', RED), ('green', GREEN))}, picture


def test_labels_have_sixteen_columns_and_underscored_names(sample, tmp_path):
    classes = ('traffic light', 'unused_1')
    ImageOutputs(labels=True, save_images=False).write(None, sample, tmp_path, dict(classes=classes), stem='sub/x')
    text = (tmp_path / 'labels' / 'sub' / 'x.txt').read_text()
    assert text == ('traffic_light 0.00 0 0.00 10.000 10.000 30.000 30.000 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.900\n')
    assert [entry.name for entry in read_kitti_labels(tmp_path / 'labels/sub/x.txt', classes=classes)] == [classes[0]]


@pytest.mark.parametrize(('options', 'count'), [
    ({}, 3), (dict(min_score=0.5), 2), (dict(conf_threshold=0.7), 1), (dict(conf_threshold=0.4), 3)])
def test_thresholds_of_labels(sample, options, count):
    outputs = ImageOutputs(**options)
    assert len(kitti_objects(outputs.kept(sample), ('a', 'b', 'c'), min_score=outputs.written_from)) == count


def test_classes_outside_the_color_map_have_labels_but_no_box(sample):
    colors, picture = drawn(sample, color_map={'traffic light': 'red', 'bird': [0, 255, 0]})
    assert colors['red'][10:31, 10:31].any() and colors['green'][10:31, 70:91].any()
    assert len(kitti_objects(sample, ('traffic light', 'dog', 'bird'))) == 3
    sample.pred_instances = sample.pred_instances[[0, 2]]
    assert (drawn(sample, color_map={'traffic light': 'red', 'bird': [0, 255, 0]})[1] == picture).all()


def test_outline_width(sample):
    thin, thick = (drawn(sample, color_map={'dog': '#ff0000'}, outline_width=width)[0]['red'] for width in (1, 5))
    edge = slice(20, 25), slice(38, 43)  # rows of the box's left side, the columns around it
    assert (thin[edge].sum(axis=1) == 1).all() and (thick[edge].sum(axis=1) == 5).all()


def test_conf_threshold_also_rules_the_pictures(sample):
    low, high = (drawn(sample, color_map={'dog': 'red'}, conf_threshold=score)[0]['red'].any() for score in (0.5, 0.7))
    assert low and not high


@pytest.mark.parametrize(('options', 'message'), [
    (dict(conf_threshold=1.5), r'conf_threshold=1.5 must lie in 0 \.\. 1'),
    (dict(outline_width=0), 'outline_width=0 must be at least 1 pixel'),
    (dict(color_map=dict(cta='red')), "colour for 'cta', which is no class of the model; did you mean cat"),
    (dict(color_map=dict(cat='rde')), r"color_map\['cat'\]='rde' is not a colour name"),
    (dict(color_map=dict(cat=(1, 2))), r'is not \(r, g, b\)'),
])
def test_mistakes_are_found_before_the_first_image(toy, photos, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'out', device='cpu', **options)
    assert not (tmp_path / 'out').exists()


def test_labels_need_class_names():
    with pytest.raises(ValueError, match=r'label files need class names.*classmap=FILE'):
        ImageOutputs(labels=True).check({})


@pytest.mark.parametrize('kind', ['pth', 'onnx'])
def test_a_job_writes_a_label_file_for_every_image(toy, photos, tmp_path, kind):
    run_inference(toy / f'toy.{kind}', photos, out_dir=tmp_path, labels=True, device='cpu' if kind == 'pth' else None)
    files = sorted(path.relative_to(tmp_path / 'labels').as_posix() for path in (tmp_path / 'labels').rglob('*.txt'))
    assert files == ['a/0.txt', 'a/1.txt', 'a/2.txt', 'b/3.txt', 'b/4.txt', 'b/5.txt']
    found = json.loads((tmp_path / 'predictions.json').read_text())['annotations']
    lines = [entry for name in files for entry in read_kitti_labels(tmp_path / 'labels' / name)]
    assert {entry.name for entry in lines} <= {'cat', 'dog'} and len(lines) == len(found)


def test_python_drops_and_writes_alike(toy, photos, tmp_path):
    predict = Inferencer(toy / 'toy.pth', device='cpu')
    every = predict(photos)
    middle = float(torch.cat([sample.pred_instances.scores for sample in every]).median())
    kept = predict(photos, out_dir=tmp_path, conf_threshold=middle, labels=True)
    count = sum(len(sample.pred_instances) for sample in kept)
    assert len(kept) == 6 and 0 < count < sum(len(sample.pred_instances) for sample in every)
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / 'labels').rglob('*.txt')) == count
    assert len(json.loads((tmp_path / 'predictions.json').read_text())['annotations']) == count


def test_a_killed_job_with_labels_goes_on(toy, photos, tmp_path, monkeypatch):
    options = dict(batch_size=2, device='cpu', labels=True, save_images=False, conf_threshold=0.1)
    run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'whole', **options)
    predict, calls = TorchPredictor.predict, []

    def dies(self, prepared):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return predict(self, prepared)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TorchPredictor, 'predict', dies)
        run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'cut', **options)
    run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'cut', **options)
    trees = [{path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob('*')
              if path.is_file()} for name in ('whole', 'cut')]
    assert trees[0] == trees[1] and len(trees[0]) == 7


def test_images_of_the_same_name_never_share_a_file(toy, tmp_path):
    for name in ('one/x.png', 'two/x.png', 'two/x.jpg', 'two/000001_x.png'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.zeros((32, 32, 3), np.uint8))
    run_inference(toy / 'toy.pth', [tmp_path / 'one', tmp_path / 'two'], out_dir=tmp_path / 'out', device='cpu',
                  labels=True)
    assert len(list((tmp_path / 'out' / 'vis').rglob('*.*'))) == 4
    assert len(list((tmp_path / 'out' / 'labels').rglob('*.txt'))) == 4
