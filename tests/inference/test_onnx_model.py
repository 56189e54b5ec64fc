"""OnnxModel: the models' contract over an exported file."""
import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config

from maskforge.inference import OnnxModel
from maskforge.structures import DetDataSample


def test_test_step_takes_the_batches_of_a_test_loader(toy):
    model = OnnxModel(toy / 'toy.onnx')
    random = np.random.default_rng(0)
    inputs = [torch.from_numpy(random.integers(0, 255, (3, h, w), np.uint8)) for h, w in ((48, 64), (40, 64), (48, 30))]
    samples = [DetDataSample(metainfo=dict(ori_shape=(h * 2, w * 2), scale_factor=(0.5, 0.5)))
               for h, w in ((48, 64), (40, 64), (48, 30))]
    found = model.test_step(dict(inputs=inputs, data_samples=samples))
    assert [len(sample.pred_instances) for sample in found] == [3, 3, 3]
    assert found[0].pred_instances.bboxes.max() <= 128
    assert found[2].pred_instances.masks.width == 60
    scores = found[0].pred_instances.scores
    assert (scores.diff() <= 0).all()


def test_images_that_do_not_fit_are_shrunk(toy):
    model = OnnxModel(toy / 'toy.onnx')
    image = torch.zeros(3, 96, 128, dtype=torch.uint8)
    image[:, 48:64, 64:80] = 255
    image = torch.stack([image[0], image[1] // 2, image[2] // 3])
    [sample] = model.test_step(dict(inputs=[image], data_samples=[DetDataSample(metainfo=dict(
        ori_shape=(96, 128), scale_factor=(1.0, 1.0)))]))
    width = sample.pred_instances.bboxes[:, 2] - sample.pred_instances.bboxes[:, 0]
    assert (width == 16).all()


def test_other_classes_are_an_error(toy):
    model = OnnxModel(toy / 'toy.onnx')
    assert model.dataset_meta['category_ids'] == (17, 18)
    model.dataset_meta = dict(classes=('cat', 'dog'), category_ids=(1, 2))
    assert model.dataset_meta['category_ids'] == (1, 2)
    with pytest.raises(ValueError, match='exported with the 2 classes cat, dog, but the data set has the 1 classes x'):
        model.dataset_meta = dict(classes=('x',))
    cfg = Config(dict(test_dataloader=dict(dataset=dict(metainfo=dict(classes=('dog', 'cat'))))))
    with pytest.raises(ValueError, match='in the same order'):
        OnnxModel(toy / 'toy.onnx', cfg)


def test_only_predicts(toy):
    with pytest.raises(ValueError, match="mode='loss' needs the PyTorch model"):
        OnnxModel(toy / 'toy.onnx').forward([], mode='loss')


def test_foreign_file_is_an_error(toy, tmp_path):
    model = onnx.load(str(toy / 'toy.onnx'))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / 'foreign.onnx'))
    with pytest.raises(ValueError, match=r"foreign\.onnx has no 'maskforge' metadata"):
        OnnxModel(tmp_path / 'foreign.onnx')
