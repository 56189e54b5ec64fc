"""``Inferencer``: a model ready to predict, from Python."""
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from maskforge.inference.batch_job import run_inference, write_samples
from maskforge.inference.class_map import named_by
from maskforge.inference.image_list import InputImage, Inputs, list_images
from maskforge.inference.image_outputs import ImageOutputs
from maskforge.inference.load_model import load_model
from maskforge.inference.predictor import make_predictor
from maskforge.registry import INFERENCERS
from maskforge.structures import DetDataSample, InstanceMasks


@INFERENCERS.register_module()
class Inferencer:
    """Predicts what is in images.

    Args:
        model: a config (file, ``maskforge::mask_rcnn/x.py`` or object), a maskforge checkpoint (it carries its
            config), an exported ``.onnx`` file, or a loaded model together with ``cfg``.
        weights: checkpoint for a config; its ``load_from`` by default.
        device: ``'cpu'``, ``'cuda:1'`` ...; None takes CUDA where there is one.
        cfg: config of a model that is handed over loaded.
        tta: test-time augmentation by ``tta_model`` and ``tta_pipeline`` of the config.
        classmap: text file with one class name a line, in place of the names that the model knows.

    Attributes:
        model, cfg: what was loaded; ``cfg`` is None for an ONNX file.
        dataset_meta: classes, category_ids, palette.

    Example:
        >>> predict = Inferencer('work_dirs/balloon/epoch_12.pth')
        >>> samples = predict('photos/', batch_size=2, out_dir='results')
        >>> samples[0].pred_instances.scores
    """

    def __init__(self, model: str | Path | Config | BaseModel, weights: str | Path | None = None,
                 device: str | torch.device | None = None, *, cfg: Config | None = None, tta: bool = False,
                 classmap: str | Path | None = None) -> None:
        if isinstance(model, BaseModel):
            self.model, self.cfg = model.eval(), cfg
        else:
            self.model, self.cfg = load_model(model, weights=weights, device=device)
        self.tta, self.classmap = tta, classmap
        self.predictor = make_predictor(self.model, self.cfg, tta=tta)

    @property
    def dataset_meta(self) -> dict:
        """Classes, category ids and palette of the labels."""
        return named_by(self.classmap, self.model)

    def __call__(self, inputs: Inputs, batch_size: int = 1, score_thr: float = 0.3,
                 out_dir: str | Path | None = None, **outputs: Any) -> list[DetDataSample]:
        """Predict all inputs.

        Args:
            inputs: paths, folders, glob patterns, (H, W, 3) uint8 BGR arrays, or a list of them.
            batch_size: images per forward pass.
            score_thr: objects with a lower score are not drawn; the samples keep them.
            out_dir: writes drawn pictures, ``predictions.json``, and segments and semantic maps there as well.
            **outputs: ``conf_threshold`` (drops objects with a lower score from the samples too), ``labels``,
                ``color_map`` ...; see :class:`~maskforge.inference.image_outputs.ImageOutputs`.

        Returns:
            One sample per image, in order, on the CPU: ``pred_instances`` (bboxes, scores, labels, masks), and
            ``pred_panoptic`` and ``pred_sem_seg`` of models that predict them.

        Raises:
            FileNotFoundError, ValueError: a path that is not there, an image that cannot be read; it is named.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size={batch_size} must be at least 1.')
        images = list_images(inputs)
        choice = ImageOutputs(score_thr=score_thr, **outputs)
        samples = [_encoded(choice.kept(sample)) for batch in self._batches(images, batch_size) for sample in batch]
        if out_dir is not None:
            write_samples(images, samples, Path(out_dir), self.dataset_meta, choice)
        return samples

    def _batches(self, images: list[InputImage], batch_size: int) -> Iterator[list[DetDataSample]]:
        for start in range(0, len(images), batch_size):
            part = images[start:start + batch_size]
            yield self.predictor.predict([self.predictor.prepare(image, start + offset + 1)
                                          for offset, image in enumerate(part)])

    def run_job(self, inputs: Inputs, out_dir: str | Path, **options) -> Path:
        """Predict many images into a folder; see :func:`~maskforge.inference.run_inference` for the options."""
        return run_inference(self.model, inputs, out_dir=out_dir, cfg=self.cfg,
                             **dict(tta=self.tta, classmap=self.classmap) | options)


def _encoded(sample: DetDataSample) -> DetDataSample:
    found = sample.get('pred_instances')
    if found is not None and isinstance(found.get('masks'), InstanceMasks):
        found.masks = found.masks.encoded()
    return sample
