"""Inferencer: three kinds of sources, equal results, errors."""
import json

import cv2
import numpy as np
import pytest
import torch

from maskforge.inference import Inferencer


def same(first, second, atol=1e-4):
    for left, right in zip(first, second):
        a, b = left.pred_instances, right.pred_instances
        assert torch.allclose(a.bboxes, b.bboxes, atol=atol) and torch.allclose(a.scores, b.scores, atol=1e-5)
        assert a.labels.tolist() == b.labels.tolist()
        assert (a.masks.to_bitmaps() == b.masks.to_bitmaps()).all()


def test_config_checkpoint_and_onnx_agree(toy, photos):
    by_config = Inferencer(toy / 'toy.py', toy / 'toy.pth', device='cpu')
    samples = by_config(photos, batch_size=4)
    assert len(samples) == 6 and len(samples[0].pred_instances) == 3
    assert samples[0].ori_shape == (96, 128) and samples[2].img_path.endswith('2.png')
    assert samples[0].pred_instances.bboxes[0, 2] - samples[0].pred_instances.bboxes[0, 0] == 16
    assert by_config.dataset_meta['category_ids'] == (17, 18)
    by_checkpoint = Inferencer(toy / 'toy.pth')
    assert by_checkpoint.dataset_meta['classes'] == ('cat', 'dog')
    same(samples, by_checkpoint(photos))
    same(samples, Inferencer(toy / 'toy.onnx')(photos, batch_size=2))
    # what is kept of many images is small
    assert all(isinstance(item, dict) for sample in samples for item in sample.pred_instances.masks._segmentations)


def test_arrays_give_what_files_give(toy, photos):
    predict = Inferencer(toy / 'toy.pth', device='cpu')
    files = sorted(photos.rglob('*.png'))
    same(predict(files), predict([cv2.imread(str(file)) for file in files]))


def test_out_dir_gets_pictures_and_json(toy, photos, tmp_path):
    samples = Inferencer(toy / 'toy.pth', device='cpu')(photos / 'a', out_dir=tmp_path / 'out', score_thr=0.0)
    found = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert [image['file_name'] for image in found['images']] == ['0.png', '1.png', '2.png']
    assert found['categories'] == [dict(id=17, name='cat'), dict(id=18, name='dog')]
    assert len(found['annotations']) == sum(len(sample.pred_instances) for sample in samples)
    drawn, original = (cv2.imread(str(folder / '0.png')) for folder in (tmp_path / 'out' / 'vis', photos / 'a'))
    assert drawn.shape == original.shape and np.abs(drawn.astype(int) - original).max() > 0


def test_loaded_model_with_its_config(toy, photos):
    first = Inferencer(toy / 'toy.pth', device='cpu')
    same(first(photos), Inferencer(first.model, cfg=first.cfg)(photos))


@pytest.mark.parametrize('arguments, error, message', [
    (('toy.py',), ValueError, 'no weights to predict with; give weights=CHECKPOINT'),
    (('toy.pth', 'toy.pth'), ValueError, 'is a checkpoint, and so is weights='),
    (('toy.onnx', 'toy.pth'), ValueError, 'holds its own weights'),
    (('none.onnx',), FileNotFoundError, 'there is no such ONNX file'),
    (('none.pth',), FileNotFoundError, r'none\.pth'),
    (('none.py',), FileNotFoundError, r'none\.py'),
])
def test_what_is_refused(toy, arguments, error, message):
    with pytest.raises(error, match=message):
        Inferencer(*(toy / name for name in arguments))


def test_checkpoint_without_a_config(toy, tmp_path):
    state = torch.load(toy / 'toy.pth', weights_only=True)
    torch.save(dict(state_dict=state['state_dict']), tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match=r'bare\.pth has no config text'):
        Inferencer(tmp_path / 'bare.pth')


def test_config_text_that_runs_code_is_refused(toy, tmp_path):
    state = torch.load(toy / 'toy.pth', weights_only=True)
    state['meta']['cfg'] = "model = dict(type='InferenceToy')\nx = __import__('os').getcwd()\n"
    torch.save(state, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=r'evil.pth: its config text cannot be read as plain values \(line 2 calls'):
        Inferencer(tmp_path / 'evil.pth')


def test_batch_size_must_be_positive(toy, photos):
    with pytest.raises(ValueError, match='batch_size=0'):
        Inferencer(toy / 'toy.onnx')(photos, batch_size=0)
