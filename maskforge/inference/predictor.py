"""Named images in, data samples out: the step that the Inferencer and the batch job share."""
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from maskforge.datasets.pipeline import Pipeline
from maskforge.export import find_test_pipeline
from maskforge.inference.image_list import InputImage
from maskforge.inference.onnx_model import OnnxModel, resized
from maskforge.registry import MODELS, SCOPE
from maskforge.structures import DetDataSample

#: transforms that read or rearrange the truth, which new images do not have
TRUTH_STEPS = ('LoadAnnotations', 'LoadPanopticAnnotations', 'SemSegToInstances')

#: pipelines of models that scale images themselves, and whose ``test_dataloader`` is of videos
IMAGE_STEPS = {'SAM2': [dict(type='PackDetInputs')]}


@runtime_checkable
class Predictor(Protocol):
    """Two steps, so that reading the next images can overlap with predicting the present ones."""

    def prepare(self, image: InputImage, image_id: int) -> Any:
        """Read and transform one image; raises ``ValueError`` or ``OSError`` for a broken one."""

    def predict(self, prepared: Sequence[Any]) -> list[DetDataSample]:
        """Predict a batch of prepared images."""


def make_predictor(model: BaseModel, cfg: Config | None, *, tta: bool = False) -> Predictor:
    """The predictor for what :func:`~maskforge.inference.load_model.load_model` returned.

    Args:
        tta: test-time augmentation by ``tta_model`` and ``tta_pipeline`` of the config.

    Raises:
        ValueError: ``tta`` with an ONNX file, or with a config that has no such keys.
    """
    if tta:
        return AugmentedPredictor(model, cfg)
    return OnnxPredictor(model) if isinstance(model, OnnxModel) else TorchPredictor(model, cfg)


class TorchPredictor:
    """A PyTorch model behind the test pipeline of its config.

    Raises:
        ValueError: the config has no test pipeline.
    """

    def __init__(self, model: BaseModel, cfg: Config) -> None:
        self.model = model
        steps = [step for step in self.find_steps(cfg) if not _is(step, TRUTH_STEPS)]
        # images are read here, so that files and arrays take the same way and a broken file is named
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or SCOPE):
            self.pipeline = Pipeline([step for step in steps if not _is(step, 'LoadImage')])

    def find_steps(self, cfg: Config) -> list:
        """The pipeline that images go through."""
        kind = str((cfg.get('model') or {}).get('type')).split('.')[-1]
        steps = IMAGE_STEPS.get(kind) or find_test_pipeline(cfg)
        if not steps:
            raise ValueError('the config has no test pipeline: test_dataloader.dataset.pipeline is not set.')
        return steps

    def prepare(self, image: InputImage, image_id: int) -> dict:
        """Read and transform one image."""
        pixels = image.read()
        shape = pixels.shape[:2]
        results = dict(img=pixels, img_path=str(image.path or image.name), img_id=image_id, height=shape[0],
                       width=shape[1], img_shape=shape, ori_shape=shape, instances=[])
        packed = self.pipeline(results)
        samples = packed['data_samples']
        for sample in samples if isinstance(samples, (list, tuple)) else [samples]:
            sample.set_metainfo(dict(img_path=results['img_path'], img_id=image_id, ori_shape=shape))
        return packed

    def predict(self, prepared: Sequence[dict]) -> list[DetDataSample]:
        """Run the model; the predictions come back on the CPU."""
        data = self.collate(prepared)
        with torch.no_grad():
            samples = self.model.test_step(data)
        return [sample.to('cpu') for sample in samples]

    def collate(self, prepared: Sequence[dict]) -> dict:
        """What ``model.test_step`` takes."""
        return {key: [entry[key] for entry in prepared] for key in ('inputs', 'data_samples')}


class AugmentedPredictor(TorchPredictor):
    """Predicts several views of every image and merges them, as ``tools/test.py --tta`` does.

    Raises:
        ValueError: an ONNX file; a config without ``tta_model`` or ``tta_pipeline``.
    """

    def __init__(self, model: BaseModel, cfg: Config | None) -> None:
        if isinstance(model, OnnxModel) or cfg is None:
            raise ValueError('test-time augmentation needs a checkpoint and its config: an ONNX file has one fixed way '
                             'of testing')
        missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
        if missing:
            raise ValueError(f'test-time augmentation: the config has no {" and no ".join(missing)}; add '
                             "'maskforge::_base_/tta.py' to _base_")
        super().__init__(model, cfg)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or SCOPE):
            self.model = MODELS.build(dict(cfg.tta_model, module=model)).eval()

    def find_steps(self, cfg: Config) -> list:
        """The pipeline that makes the views."""
        return cfg.tta_pipeline

    def collate(self, prepared: Sequence[dict]) -> dict:
        """For every view a batch of images."""
        return {key: [list(view) for view in zip(*(entry[key] for entry in prepared))]
                for key in ('inputs', 'data_samples')}


class OnnxPredictor:
    """An exported file behind the preprocessing that it describes."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model

    def prepare(self, image: InputImage, image_id: int) -> tuple:
        """Read one image and apply the file's rule."""
        pixels = image.read()
        array, factors = self.model.preprocessing.prepare(pixels)
        meta = dict(img_id=image_id, img_path=str(image.path or image.name), ori_shape=pixels.shape[:2],
                    scale_factor=factors)
        return array, DetDataSample(metainfo=meta)

    def predict(self, prepared: Sequence[tuple]) -> list[DetDataSample]:
        """Run the file."""
        samples = [sample for _, sample in prepared]
        for sample, output in zip(samples, self.model.run([array for array, _ in prepared])):
            self.model.add_predictions(sample, output, sample.scale_factor,
                                       resized(sample.ori_shape, sample.scale_factor))
        return samples


def _is(step: Any, name: str | tuple[str, ...]) -> bool:
    kind = step.get('type') if isinstance(step, dict) else type(step)
    return str(getattr(kind, '__name__', kind)).split('.')[-1].startswith(name)


