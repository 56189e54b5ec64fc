"""An exported ONNX file in the place of the model it came from: same data in, same data samples out."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from maskforge.export import Preprocessing, open_session, parse_metadata
from maskforge.inference.onnx_segments import add_segments, check_segment_outputs
from maskforge.ops.masks import paste_packed
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, InstanceMasks

WARNING = 30


@MODELS.register_module()
class OnnxModel(BaseModel):
    """Runs an exported file with onnxruntime behind the models' contract (``test_step``, ``mode='predict'``).

    Args:
        path: file written by ``tools/export.py``.
        cfg: config that the file is used with; its class names must be the file's.
        threads: of onnxruntime; 0 lets it choose.

    Attributes:
        metadata: what the file says about itself.
        preprocessing: its rule from image to input.
        dataset_meta: classes, category_ids, palette and (where the file has them) is_thing; setting other classes is
            an error.

    Raises:
        FileNotFoundError, ValueError: no such file, not an ONNX file, not one of ours.
        ImportError: onnxruntime is missing.
    """

    def __init__(self, path: str | Path, cfg: Config | None = None, *, threads: int = 0) -> None:
        super().__init__()
        self.path = Path(path)
        self.session = open_session(path, threads=threads)
        self.metadata = parse_metadata(self.session.get_modelmeta().custom_metadata_map, path=path)
        self.preprocessing = Preprocessing.from_metadata(self.metadata)
        self.output_names = [output.name for output in self.session.get_outputs()]
        entry = self.session.get_inputs()[0]
        self.input_name = entry.name
        self.batch_size = entry.shape[0] if isinstance(entry.shape[0], int) else None
        self._dataset_meta = dict(classes=tuple(self.metadata.get('classes', ())),
                                  category_ids=tuple(self.metadata.get('category_ids', ())),
                                  palette=[tuple(colour) for colour in self.metadata.get('palette', ())])
        if 'is_thing' in self.metadata:
            self._dataset_meta['is_thing'] = tuple(self.metadata['is_thing'])
        self._told_shrunk = False
        if self.metadata.get('task') == 'promptable_segmentation':
            raise ValueError(f'{path} is a part of SAM 2, which segments by prompts: use '
                             f'maskforge.inference.OnnxImagePredictor(ENCODER, DECODER).')
        if self._segments:
            check_segment_outputs(self.output_names, self.metadata['postprocess']['mode'], path)
        else:
            _check_outputs(self.output_names, path)
        if cfg is not None:
            dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
            self._check_classes((dataset.get('metainfo') or {}).get('classes'))

    @property
    def _segments(self) -> bool:
        return self.metadata.get('task') == 'segmentation'

    @property
    def dataset_meta(self) -> dict[str, Any]:
        """Classes, category ids and palette that the labels refer to."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict[str, Any]) -> None:
        self._check_classes(meta.get('classes'))
        self._dataset_meta = {**self._dataset_meta, **meta}

    def _check_classes(self, classes: Sequence[str] | None) -> None:
        own = self._dataset_meta['classes']
        if classes and own and tuple(classes) != own:
            raise ValueError(f'{self.path} was exported with the {len(own)} classes {_few(own)}, but the data set has '
                             f'the {len(classes)} classes {_few(classes)}. They must be the same, in the same order.')

    def forward(self, inputs: Sequence[Tensor], data_samples: Sequence[DetDataSample] | None = None,
                mode: str = 'predict') -> list[DetDataSample]:
        """Predict.

        Args:
            inputs: uint8 (3, h, w) BGR images after the test pipeline, of any sizes.
            data_samples: with ``ori_shape`` and ``scale_factor``; the predictions are put into them.
            mode: only ``'predict'``.

        Raises:
            ValueError: another mode.
        """
        if mode != 'predict':
            raise ValueError(f"{type(self).__name__} only predicts; mode='{mode}' needs the PyTorch model.")
        prepared, factors = [], []
        for image in inputs:
            array, factor = self.preprocessing.fit(image.cpu().numpy().transpose(1, 2, 0))
            prepared.append(array)
            factors.append(factor)
        if any(factor != (1.0, 1.0) for factor in factors) and not self._told_shrunk:
            change = 'larger images are shrunk to fit' if self.preprocessing.pads else 'images are stretched to it'
            print_log(f'{self.path.name} takes {tuple(self.preprocessing.input_size)} (h, w), which is not the size of '
                      f'the test pipeline: {change}', logger='current', level=WARNING)
            self._told_shrunk = True
        data_samples = list(data_samples) if data_samples is not None else [
            DetDataSample(metainfo=dict(ori_shape=tuple(image.shape[-2:]))) for image in inputs]
        for sample, output, image, factor in zip(data_samples, self.run(prepared), inputs, factors):
            scale = np.asarray(sample.metainfo.get('scale_factor', (1.0, 1.0))[:2]) * factor
            self.add_predictions(sample, output, scale, resized(image.shape[-2:], factor))
        return data_samples

    def add_predictions(self, sample: DetDataSample, output: dict[str, np.ndarray], scale: Sequence[float],
                        inner: tuple[int, int]) -> None:
        """Put what the file predicts into the sample, in the frame of the original image.

        Args:
            sample: with ``ori_shape``.
            output: of one image, see :meth:`run`.
            scale: (x, y) from the original image to the input.
            inner: (height, width) of the image inside the padded input.
        """
        if self._segments:
            flags = self.dataset_meta.get('is_thing') or self.metadata['is_thing']
            add_segments(sample, output, self.metadata['postprocess'], is_thing=flags, inner=inner)
        else:
            sample.pred_instances = self.to_instances(output, scale, sample.ori_shape)

    def to_instances(self, output: dict[str, np.ndarray], scale: Sequence[float],
                     ori_shape: tuple[int, int]) -> InstanceData:
        """Outputs of one image as predictions in the original image; see :func:`to_instances`."""
        return to_instances(output, scale, ori_shape, mask_threshold=self.metadata.get('mask_threshold') or 0.5,
                            clip=self.metadata.get('clip_boxes', True))

    def run(self, arrays: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Run prepared inputs (float32 (3, h, w) each); return the named outputs of each, in the input's frame."""
        found: list[dict[str, np.ndarray]] = [{} for _ in arrays]
        for rows in self.preprocessing.groups(arrays, self.batch_size):
            part = [arrays[row] for row in rows]
            # a fixed batch is filled up by repeating the last image
            filled = part + [part[-1]] * ((self.batch_size or len(part)) - len(part))
            outputs = self.session.run(self.output_names, {self.input_name: self.preprocessing.stack(filled)})
            for position, row in enumerate(rows):
                named = dict(zip(self.output_names, (output[position] for output in outputs)))
                found[row] = self._with_detections(named, arrays[row].shape[1:])
        return found

    def _with_detections(self, output: dict[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
        """Add boxes, scores and labels to the raw outputs of a file that stops there."""
        if self._segments or 'boxes' in output:
            return output
        return output | best_queries(output['pred_logits'], output['pred_boxes'], size,
                                     num_select=int(self.metadata.get('num_select', 100)),
                                     threshold=float(self.metadata.get('score_threshold', 0.0)))


def best_queries(logits: np.ndarray, boxes_cxcywh: np.ndarray, size: tuple[int, int], *, num_select: int,
                 threshold: float = 0.0) -> dict[str, np.ndarray]:
    """Raw outputs of one image as detections: the best pairs of query and class.

    Args:
        logits: (Q, K) before the sigmoid.
        boxes_cxcywh: (Q, 4) in [0, 1] of the input.
        size: (height, width) of the input.
        num_select: how many.
        threshold: scores below it become 0, which marks an empty row.

    Returns:
        boxes (N, 4) xyxy in input pixels, scores (N,) falling, labels (N,) int64.
    """
    scores = 1 / (1 + np.exp(-logits.astype(np.float64).reshape(-1)))
    best = np.argsort(-scores, kind='stable')[:num_select]
    centre, side = np.split(boxes_cxcywh[best // logits.shape[1]], 2, axis=1)
    corners = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    kept = np.where(scores[best] >= threshold, scores[best], 0.0)
    return dict(boxes=(corners * [*size[::-1], *size[::-1]]).astype(np.float32), scores=kept.astype(np.float32),
                labels=(best % logits.shape[1]).astype(np.int64))


def to_instances(output: dict[str, np.ndarray], scale: Sequence[float], ori_shape: tuple[int, int], *,
                 mask_threshold: float = 0.5, clip: bool = True) -> InstanceData:
    """Outputs of one image as predictions in the original image.

    Args:
        output: ``boxes`` (N, 4) xyxy in the input's frame, ``scores`` (N,), ``labels`` (N,), and where there are
            masks ``masks`` (N, S, S) probabilities inside the boxes; rows with score 0 are padding.
        scale: (x, y) from the original image to the input.
        ori_shape: (height, width) of the original image.
        mask_threshold: pixels of a mask have at least this probability.
        clip: cut boxes to the image; False for models whose own predictions may reach beyond it.
    """
    valid = output['scores'] > 0
    boxes = output['boxes'][valid].astype(np.float32) / np.asarray([*scale, *scale], np.float32)
    height, width = ori_shape[:2]
    if clip:
        boxes = np.clip(boxes, 0, np.asarray([width, height, width, height], np.float32))
    boxes = torch.from_numpy(boxes)
    found = InstanceData(bboxes=boxes, scores=torch.from_numpy(output['scores'][valid].astype(np.float32)),
                         labels=torch.from_numpy(output['labels'][valid].astype(np.int64)))
    if 'masks' in output:
        masks = torch.from_numpy(np.ascontiguousarray(output['masks'][valid], dtype=np.float32))
        packed = paste_packed(masks, boxes, (height, width), threshold=mask_threshold) if len(masks) else []
        found.masks = InstanceMasks(packed, height, width)
    order = torch.argsort(found.scores, descending=True, stable=True)
    return found[order]


def resized(shape: Sequence[int], factors: Sequence[float]) -> tuple[int, int]:
    """(height, width) of an image after a resize by the factors (x, y)."""
    return round(shape[0] * factors[1]), round(shape[1] * factors[0])


def _check_outputs(names: Sequence[str], path: str | Path) -> None:
    missing = {'boxes', 'scores', 'labels'} - set(names)
    if missing and not {'pred_logits', 'pred_boxes'} <= set(names):
        raise ValueError(f'{path} has the outputs {", ".join(names)}; detection needs {", ".join(sorted(missing))} '
                         f'as well.')


def _few(names: Sequence[str]) -> str:
    return ', '.join(names[:4]) + (' ...' if len(names) > 4 else '')
