"""What a metric keeps of one image until the data set is complete: NumPy arrays and run-length codes, no bitmaps."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec
from torch import Tensor

from maskforge.structures import InstanceMasks
from maskforge.structures.original_frame import boxes_to_original, masks_to_original


def to_numpy(value: Any, dtype: type | None = None) -> np.ndarray:
    """A tensor (any device), array or sequence as a NumPy array; bfloat16 tensors become float32."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    return np.asarray(value, dtype=dtype)


def to_rles(masks: Any) -> list[dict]:
    """Masks of one image as compressed COCO RLEs.

    Args:
        masks: :class:`InstanceMasks`, (N, H, W) tensor or array (non-zero is foreground), or a sequence of RLE dicts.
    """
    if isinstance(masks, InstanceMasks):
        return masks.to_rles()
    if isinstance(masks, Sequence):
        return list(masks)
    bitmaps = to_numpy(masks).astype(bool)
    return [rle_codec.encode(np.asfortranarray(bitmap, dtype=np.uint8)) for bitmap in bitmaps]


def prediction(sample: Mapping, field: str) -> Any:
    """Return what the model predicted, ``pred_instances``, ``pred_panoptic`` or ``pred_sem_seg``.

    Raises:
        ValueError: the model did not predict it.
    """
    if field not in sample:
        raise ValueError(f'image {sample.get("img_id")!r}: the data sample has no {field}; the model must return it in '
                         f"mode='predict'. Where model.mode chooses what is predicted (Mask2Former), add the metric's "
                         'mode to it, or leave the metric out of the evaluator.')
    return sample[field]


@dataclass(slots=True)
class ImageTruth:
    """Ground truth of one image in its original frame.

    Attributes:
        boxes: (N, 4) float64 xyxy pixels.
        labels: (N,) int64 class indices.
        ignored: (N,) bool; crowd regions and difficult objects.
        segmentations: N items, polygons or RLE dicts at the original size, or None.
    """

    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    segmentations: list | None

    @classmethod
    def from_sample(cls, sample: Mapping, *, with_masks: bool = True) -> 'ImageTruth':
        """Read the truth of a data sample (in dict form) and map it back to the original image.

        ``instances`` (the data set's own records, kept by ``PackDetInputs(meta_keys=...)``) win over
        ``gt_instances`` and ``ignored_instances``, which are in the frame of the resized image.

        Raises:
            ValueError: the sample holds neither.
        """
        if sample.get('instances') is not None:
            return cls._from_records(sample['instances'])
        if 'gt_instances' not in sample:
            raise ValueError(
                f'image {sample.get("img_id")!r}: no ground truth to evaluate against. Give the metric an ann_file, or '
                'keep LoadAnnotations in the test pipeline so that data samples carry gt_instances.')
        groups = [(sample.get(name), flag) for name, flag in (('gt_instances', False), ('ignored_instances', True))]
        groups = [(group, flag) for group, flag in groups if group and 'bboxes' in group]
        masked = with_masks and bool(groups) and all('masks' in group for group, _ in groups)
        scale, ori_shape = sample.get('scale_factor', (1.0, 1.0)), sample['ori_shape']
        boxes = [boxes_to_original(to_numpy(group['bboxes']), scale) for group, _ in groups]
        masks = [masks_to_original(group['masks'], ori_shape, scale) for group, _ in groups if masked]
        return cls(
            boxes=np.concatenate([np.zeros((0, 4)), *boxes]),
            labels=np.concatenate([np.zeros(0, np.int64), *(to_numpy(g['labels'], np.int64) for g, _ in groups)]),
            ignored=np.concatenate([np.zeros(0, bool), *(np.full(len(b), f) for b, (_, f) in zip(boxes, groups))]),
            segmentations=[item for one in masks for item in one.segmentations] if masked else None)

    @classmethod
    def _from_records(cls, records: Sequence[Mapping]) -> 'ImageTruth':
        with_masks = bool(records) and all(record.get('mask') is not None for record in records)
        return cls(
            boxes=np.array([record['bbox'] for record in records], np.float64).reshape(-1, 4),
            labels=np.array([record['bbox_label'] for record in records], np.int64),
            ignored=np.array([record.get('ignore_flag', 0) for record in records], bool),
            segmentations=[record['mask'] for record in records] if with_masks else None)


@dataclass(slots=True)
class ImageResult:
    """Predictions (and, where asked for, truth) of one image, small enough to send between processes.

    Attributes:
        img_id, img_path: identity of the image.
        ori_shape: (height, width).
        boxes: (N, 4) float32 xyxy pixels of the original image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64.
        rles: N compressed RLEs at ``ori_shape``, or None where the model predicts no masks.
        mask_scores: (N,) float32 or None; replaces ``scores`` in mask evaluation (models that score masks).
        truth: ground truth, or None.
    """

    img_id: Any
    img_path: str | None
    ori_shape: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    rles: list[dict] | None = None
    mask_scores: np.ndarray | None = None
    truth: ImageTruth | None = None

    @property
    def key(self) -> tuple:
        """What makes two results results of the same image."""
        return self.img_id, self.img_path

    def scores_of(self, *, masks: bool) -> np.ndarray:
        """The scores that rank masks or boxes; they differ only for models that score their masks."""
        return self.mask_scores if masks and self.mask_scores is not None else self.scores

    @classmethod
    def from_sample(cls, sample: Mapping, *, with_masks: bool, with_truth: bool) -> 'ImageResult':
        """Take what evaluation needs from a data sample in dict form.

        Raises:
            ValueError: no ``pred_instances``, masks are asked for and the model predicts none, or truth is asked for
                and there is none.
        """
        predicted = prediction(sample, 'pred_instances')
        if with_masks and 'masks' not in predicted:
            raise ValueError("metric 'segm' needs pred_instances.masks, but the model predicts boxes only: set "
                             "metric='bbox', or use a model with a mask head.")
        mask_scores = predicted.get('mask_scores')
        return cls(
            img_id=_plain(sample['img_id']),
            img_path=sample.get('img_path'),
            ori_shape=tuple(int(side) for side in sample['ori_shape'][:2]),
            boxes=to_numpy(predicted['bboxes'], np.float32).reshape(-1, 4),
            scores=to_numpy(predicted['scores'], np.float32),
            labels=to_numpy(predicted['labels'], np.int64),
            rles=to_rles(predicted['masks']) if with_masks else None,
            mask_scores=None if mask_scores is None else to_numpy(mask_scores, np.float32),
            truth=ImageTruth.from_sample(sample, with_masks=with_masks) if with_truth else None)


def _plain(value: Any) -> Any:
    """NumPy and torch scalars as Python's, so that ids compare equal and can be written to JSON."""
    return value.item() if hasattr(value, 'item') else value
