"""Semantic segmentation: mean IoU, mean and overall accuracy of pixels."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from terminaltables import AsciiTable

from maskforge.formats.panoptic_png import write_png
from maskforge.registry import METRICS

from .gathered_metric import GatheredMetric
from .image_result import prediction, to_numpy
from .panoptic_class_maps import PanopticClassMaps

IOU_METRICS = ('mIoU', 'mDice', 'mFscore')


@dataclass(slots=True)
class SemanticResult:
    """One image: pixels in common, predicted and true, (K,) int64 each."""

    key: tuple
    common: np.ndarray
    predicted: np.ndarray
    true: np.ndarray


@METRICS.register_module()
class IoUMetric(GatheredMetric):
    """Pixel counts over the whole data set, then IoU and accuracy per class (Everingham et al., VOC).

    Result keys: ``aAcc`` (all pixels), ``mIoU``, ``mAcc`` and, as asked for, ``mDice`` and ``mFscore``; in [0, 1].
    Classes that occur neither in truth nor prediction do not count in the means. A sample brings
    ``pred_sem_seg.sem_seg``, (1, H, W) or (H, W) class indices, and the truth at the same size:
    ``gt_sem_seg`` or, where the picture was resized, the PNG ``seg_map_path`` of its meta information. With
    ``ann_file`` the truth comes from panoptic annotations.

    Args:
        ignore_index: value of the truth that does not count.
        iou_metrics: any of 'mIoU', 'mDice', 'mFscore'.
        beta: weight of recall in mFscore.
        classwise: return ``<class>_IoU`` too; the table is always printed.
        reduce_zero_label: the truth's file has 0 for ignored pixels and class k as k + 1.
        format_only: write result files and compute nothing; needs ``output_dir``.
        ann_file, seg_prefix: panoptic JSON with the truth, and the folder of its PNGs (by default beside the file).
        output_dir: predictions are written there as PNG, class index (plus 1 with ``reduce_zero_label``).
        collect_device, prefix, collect_dir: see :class:`GatheredMetric`.

    Raises:
        ValueError: an unknown metric; ``format_only`` without ``output_dir``.
    """

    default_prefix = ''  # the keys are mmsegmentation's, without a prefix

    def __init__(self, ignore_index: int = 255, iou_metrics: str | Sequence[str] = ('mIoU',), *, beta: float = 1.0,
                 classwise: bool = False, reduce_zero_label: bool = False, format_only: bool = False,
                 output_dir: str | Path | None = None, ann_file: str | Path | None = None,
                 seg_prefix: str | Path | None = None, collect_device: str = 'cpu', prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        unknown = [name for name in self.metrics if name not in IOU_METRICS]
        if unknown:
            raise ValueError(f'iou_metrics={unknown[0]!r}: allowed are {", ".join(IOU_METRICS)}.')
        if format_only and output_dir is None:
            raise ValueError('format_only=True writes PNGs: say where with output_dir.')
        self.ignore_index, self.beta, self.classwise = ignore_index, beta, classwise
        self.reduce_zero_label, self.format_only = reduce_zero_label, format_only
        self.panoptic = None if ann_file is None else PanopticClassMaps(ann_file, seg_prefix)
        self.output_dir = None if output_dir is None else Path(output_dir)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count each sample's pixels at once, so that no map is kept."""
        for sample in data_samples:
            predicted = to_numpy(prediction(sample, 'pred_sem_seg')['sem_seg']).squeeze()
            if self.output_dir is not None:
                written = predicted + self.reduce_zero_label
                write_png(written.astype(np.uint8), self.output_dir / f'{Path(sample["img_path"]).stem}.png')
            self.results.append(self._count(sample, predicted))

    def compute_metrics(self, results: list[SemanticResult]) -> dict[str, float]:
        """Sum and divide; see the class for the keys."""
        if self.format_only:
            return {}
        common, predicted, true = (sum(getattr(result, name) for result in results)
                                   for name in ('common', 'predicted', 'true'))
        scores = class_scores(common, predicted, true, beta=self.beta)
        names = self.dataset_meta['classes']
        self._log(names, scores)
        metrics = {'aAcc': float(common.sum() / max(true.sum(), 1)), 'mAcc': float(_mean(scores['Acc']))}
        metrics |= {name: float(_mean(scores[name[1:]])) for name in self.metrics}
        if self.classwise:
            metrics |= {f'{name}_IoU': float(value) for name, value in zip(names, scores['IoU'])}
        return metrics

    def _count(self, sample: dict, predicted: np.ndarray) -> SemanticResult:
        key = (sample['img_id'] if 'img_id' in sample else sample['img_path'],)
        number = len((self.dataset_meta or {}).get('classes', ()))
        if not number:
            raise ValueError("IoUMetric needs the data set's metainfo.classes.")
        if self.format_only:
            return SemanticResult(key, *(np.zeros(number, np.int64) for _ in range(3)))
        truth = self._truth(sample)
        if truth.shape != predicted.shape:
            raise ValueError(f'image {sample.get("img_path")}: the prediction is {predicted.shape[1]} x '
                             f'{predicted.shape[0]} pixels, the truth {truth.shape[1]} x {truth.shape[0]}.')
        return SemanticResult(key, *count_pixels(truth, predicted, number, ignore_index=self.ignore_index,
                                                 image=sample.get('img_path')))

    def _truth(self, sample: dict) -> np.ndarray:
        if self.panoptic is not None:
            return self.panoptic.read(sample['img_id'], self.dataset_meta, void=self.ignore_index)
        path = sample.get('seg_map_path')
        if path:
            truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if truth is None:
                raise ValueError(f'{path} is missing or no readable image.')
            if truth.ndim != 2:
                raise ValueError(f'{path} has {truth.shape[2]} channels; a map of class indices has one.')
        elif 'gt_sem_seg' in sample:
            return to_numpy(sample['gt_sem_seg']['sem_seg']).squeeze()
        else:
            raise ValueError(f'image {sample.get("img_path")}: there is no truth; keep seg_map_path in meta_keys of '
                             f'PackDetInputs, load it with LoadAnnotations(with_seg=True), or give the metric the '
                             f'panoptic annotations as ann_file.')
        if self.reduce_zero_label:
            truth = np.where(truth == 0, self.ignore_index, truth.astype(np.int64) - 1)
        return truth

    def _log(self, names: Sequence[str], scores: dict[str, np.ndarray]) -> None:
        columns = ['IoU', 'Acc', *(name[1:] for name in self.metrics if name != 'mIoU')]
        rows = [[name, *('-' if np.isnan(scores[key][k]) else f'{scores[key][k]:.3f}' for key in columns)]
                for k, name in enumerate(names)]
        print_log(f'\n{AsciiTable([["class", *columns], *rows]).table}', logger='current')


def count_pixels(truth: np.ndarray, predicted: np.ndarray, num_classes: int, *, ignore_index: int = 255,
                 image: object = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (K,) int64 pixels in common, predicted and true, without those whose truth is ``ignore_index``.

    Raises:
        ValueError: a class index outside [0, ``num_classes``).
    """
    keep = truth != ignore_index
    truth, predicted = truth[keep].astype(np.int64), predicted[keep].astype(np.int64)
    for what, values in (('truth', truth), ('prediction', predicted)):
        if values.size and not (values.min() >= 0 and values.max() < num_classes):
            raise ValueError(f'image {image}: the {what} has class indices from {values.min()} to {values.max()}, the '
                             f'data set {num_classes} classes (ignore_index={ignore_index}).')
    return (np.bincount(truth[truth == predicted], minlength=num_classes),
            np.bincount(predicted, minlength=num_classes), np.bincount(truth, minlength=num_classes))


def class_scores(common: np.ndarray, predicted: np.ndarray, true: np.ndarray, *,
                 beta: float = 1.0) -> dict[str, np.ndarray]:
    """Return (K,) IoU, Acc (recall), Dice and Fscore of pixel counts; NaN where there is nothing to divide by."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return dict(IoU=common / (predicted + true - common), Acc=common / true, Dice=2 * common / (predicted + true),
                    Fscore=(1 + beta**2) * common / (beta**2 * true + predicted))


def _mean(values: np.ndarray) -> float:
    return np.nanmean(values) if np.isfinite(values).any() else 0.0
