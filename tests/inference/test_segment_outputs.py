"""Panoptic segments and semantic maps as files: from single samples, from a job, from Python, and resumed."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmengine.structures import InstanceData, PixelData

from maskforge.datasets import CocoPanopticDataset
from maskforge.formats.panoptic_json import PanopticJson, read_segments
from maskforge.formats.panoptic_png import read_panoptic_png
from maskforge.inference import Inferencer, run_inference
from maskforge.inference.image_outputs import ImageOutputs
from maskforge.inference.predictor import TorchPredictor
from maskforge.inference.segment_outputs import write_semantic_map
from maskforge.structures import DetDataSample, InstanceMasks, PanopticSegmentation

META = dict(classes=('road', 'car'), category_ids=(7, 90), is_thing=(False, True), palette=[(200, 100, 0), (0, 0, 255)])
CONFIG = Config(dict(default_scope='maskforge', test_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='mmcv.Resize', scale=(64, 48), keep_ratio=True),
    dict(type='InferenceToyPack')]))))


class SegmentToy(BaseModel):
    """Road where the image is dark, two cars at the left and at the right where it is light."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__(ImgDataPreprocessor())
        self.modes, self.dataset_meta = modes, META

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for image, sample in zip(inputs, data_samples):
            size = tuple(sample.ori_shape)
            light = torch.nn.functional.interpolate(image[None].float().mean(1, keepdim=True), size)[0, 0] > 128
            left = torch.arange(size[1]) < size[1] // 2
            segments = torch.where(light, torch.where(left, 2, 3), 1).int().numpy()
            if 'panoptic' in self.modes:
                sample.pred_panoptic = PanopticSegmentation(segments, np.array([0, 1, 1]), np.float32([0.9, 0.8, 0.4]))
            if 'semantic' in self.modes:
                sample.pred_sem_seg = PixelData(sem_seg=light[None].byte())
            if 'instance' in self.modes:
                masks = InstanceMasks.from_bitmaps(np.stack([segments == 2, segments == 3]))
                sample.pred_instances = InstanceData(bboxes=torch.from_numpy(masks.bboxes()), masks=masks,
                                                     scores=torch.tensor([0.8, 0.4]), labels=torch.tensor([1, 1]))
        return data_samples


def files_of(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def infer(modes, photos, folder, **options):
    return run_inference(SegmentToy(modes), photos, cfg=CONFIG, out_dir=folder, **options)


def test_panoptic_results_are_the_official_format(photos, tmp_path):
    infer(('panoptic',), photos, tmp_path)
    found = PanopticJson.load(tmp_path / 'panoptic.json')
    assert found.category_ids.tolist() == [7, 90] and found.category_names == ['road', 'car']
    assert found.is_thing.tolist() == [False, True]
    assert found.categories[0]['color'] == [200, 100, 0]
    assert len(found) == 6 and found.png_names[3] == 'b/3.png'
    segments = found.segments_of(3)
    image = read_segments(tmp_path / 'panoptic' / 'b' / '3.png', segments, size=(96, 128))
    assert found.category_ids[segments.category_rows].tolist() == [7, 90, 90]
    assert set(np.unique(image)) == {1, 2, 3}
    record = json.loads((tmp_path / 'panoptic.json').read_text())['annotations'][3]
    assert [segment['score'] for segment in record['segments_info']] == [0.9, 0.8, 0.4]
    assert sum(segment['area'] for segment in record['segments_info']) == 96 * 128
    assert json.loads((tmp_path / 'predictions.json').read_text())['annotations'] == []


def test_a_data_set_reads_the_results(photos, tmp_path):
    infer(('panoptic',), photos, tmp_path / 'out', save_images=False)
    dataset = CocoPanopticDataset(ann_file=str(tmp_path / 'out' / 'panoptic.json'), data_prefix=dict(img=str(photos)),
                                  pipeline=[])
    assert len(dataset) == 6 and dataset.metainfo['category_ids'] == (7, 90)
    assert len(dataset.get_data_info(0)['instances']) == 3


def test_semantic_results_have_the_category_ids(photos, tmp_path):
    infer(('semantic',), photos, tmp_path)
    image = cv2.imread(str(tmp_path / 'semantic' / 'a' / '0.png'), cv2.IMREAD_UNCHANGED)
    assert image.shape == (96, 128) and image.dtype == np.uint8 and set(np.unique(image)) == {7, 90}
    assert not (tmp_path / 'panoptic.json').exists()
    assert cv2.imread(str(tmp_path / 'vis' / 'a' / '0.png')).shape == (96, 128, 3)


def test_large_ids_take_sixteen_bits(tmp_path):
    labels = torch.tensor([[[0, 1], [2, 1]]], dtype=torch.uint8)
    write_semantic_map(labels, tmp_path, dict(category_ids=(1, 300)), stem='sub/x')
    image = cv2.imread(str(tmp_path / 'semantic' / 'sub' / 'x.png'), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16 and image.tolist() == [[1, 300], [3, 300]]  # a label beyond the ids counts from 1
    with pytest.raises(ValueError, match=r'category ids 1 \.\. 65536 do not fit into the PNG of a semantic map'):
        write_semantic_map(labels, tmp_path, dict(category_ids=(1, 2, 65536)), stem='y')


def test_every_mode_at_once(photos, tmp_path):
    infer(('panoptic', 'instance', 'semantic'), photos, tmp_path, labels=True)
    assert len(json.loads((tmp_path / 'predictions.json').read_text())['annotations']) == 12
    assert {name.split('/')[0] for name in files_of(tmp_path)} - {'photos'} == {
        'predictions.json', 'panoptic.json', 'vis', 'labels', 'panoptic', 'semantic'}
    assert cv2.imread(str(tmp_path / 'vis' / 'a' / '0.png')).shape == (96, 3 * 128, 3)


@pytest.mark.parametrize('options', [dict(min_score=0.5), dict(conf_threshold=0.5)])
def test_segments_below_a_threshold_are_void(photos, tmp_path, options):
    infer(('panoptic',), photos, tmp_path, **options)
    assert set(np.unique(read_panoptic_png(tmp_path / 'panoptic' / 'a' / '0.png'))) == {0, 1, 2}
    record = json.loads((tmp_path / 'panoptic.json').read_text())['annotations'][0]
    assert [segment['id'] for segment in record['segments_info']] == [1, 2]


def test_only_classes_of_the_color_map_are_drawn():
    segments = np.repeat(np.int32([[1, 2]]), 40, axis=0).repeat(20, axis=1)
    sample = DetDataSample(pred_panoptic=PanopticSegmentation(segments, np.array([0, 1])))
    picture = ImageOutputs(color_map=dict(car='red')).draw(np.full((40, 40, 3), 90, np.uint8), sample, META)
    assert (picture[:, :18] == 90).all() and picture[20, 30, 2] > 150 and picture[20, 30, 0] < 60


def test_a_killed_job_ends_with_the_same_files(photos, tmp_path, monkeypatch):
    modes, predict, calls = ('panoptic', 'semantic'), TorchPredictor.predict, []
    infer(modes, photos, tmp_path / 'whole', batch_size=2)

    def dies(self, prepared):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return predict(self, prepared)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TorchPredictor, 'predict', dies)
        infer(modes, photos, tmp_path / 'cut', batch_size=2)
    infer(modes, photos, tmp_path / 'cut', batch_size=2)
    assert files_of(tmp_path / 'cut') == files_of(tmp_path / 'whole')
    assert len(files_of(tmp_path / 'cut')) == 2 + 6 * 3


def test_python_writes_the_same_files(photos, tmp_path):
    modes = ('panoptic', 'instance')
    samples = Inferencer(SegmentToy(modes), cfg=CONFIG)(photos, out_dir=tmp_path / 'python')
    infer(modes, photos, tmp_path / 'job')
    assert files_of(tmp_path / 'python') == files_of(tmp_path / 'job')
    assert len(samples[0].pred_panoptic) == 3


def test_label_files_need_instances(photos, tmp_path):
    with pytest.raises(ValueError, match="the model predicts no instances: add 'instance' to its mode"):
        infer(('panoptic',), photos, tmp_path, labels=True)
