"""Pascal VOC average precision of boxes, on any data set whose samples carry their truth."""
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from terminaltables import AsciiTable

from maskforge.registry import METRICS

from .average_precision import MODES, average_precision, box_ious, match_image
from .gathered_metric import GatheredMetric
from .image_result import ImageResult


@METRICS.register_module()
class VOCMetric(GatheredMetric):
    """Mean average precision by Pascal VOC's rules.

    The truth comes from the data samples, mapped back to the original image; ignored instances (difficult objects,
    crowds) count neither as found nor as missed. Result keys: ``pascal_voc/mAP`` (mean over thresholds and classes
    with truth) and ``pascal_voc/AP50`` ... for each threshold; -1 where there is no truth. A table of every class goes
    to the log.

    Args:
        iou_thrs: least IoU of a match, a number or a sequence, each in (0, 1].
        metric: ``'mAP'``, the only one (for recall use ``CocoMetric(metric='proposal')``).
        eval_mode: ``'11points'`` (VOC 2007) or ``'area'`` (VOC 2010 on).
        use_legacy_coordinate: widths and heights count both border pixels (x1 - x0 + 1), as in the VOC devkit.
        collect_device, prefix, collect_dir: see :class:`GatheredMetric`.
    """

    default_prefix = 'pascal_voc'

    def __init__(self,
                 iou_thrs: float | Sequence[float] = 0.5,
                 metric: str | Sequence[str] = 'mAP',
                 *,
                 eval_mode: str = '11points',
                 use_legacy_coordinate: bool = False,
                 collect_device: str = 'cpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.iou_thrs = [float(thr) for thr in (iou_thrs if isinstance(iou_thrs, Sequence) else [iou_thrs])]
        if not self.iou_thrs or not all(0 < thr <= 1 for thr in self.iou_thrs):
            raise ValueError(f'VOCMetric.iou_thrs={iou_thrs!r} must lie in (0, 1].')
        if metric not in ('mAP', ['mAP'], ('mAP',)):
            raise ValueError(f"VOCMetric.metric={metric!r} is not 'mAP'; for the recall of proposals use "
                             "CocoMetric(metric='proposal').")
        if eval_mode not in MODES:
            raise ValueError(f'VOCMetric.eval_mode={eval_mode!r} is not one of {", ".join(MODES)}.')
        self.eval_mode, self.extent = eval_mode, float(use_legacy_coordinate)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep boxes of predictions and truth."""
        self.results += [ImageResult.from_sample(sample, with_masks=False, with_truth=True) for sample in data_samples]

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Score all classes at all thresholds; see the class for the keys."""
        names = (self.dataset_meta or {}).get('classes')
        if names is None:
            count = 1 + max((int(labels.max()) for result in results
                             for labels in (result.labels, result.truth.labels) if len(labels)), default=-1)
            names = [f'#{label}' for label in range(count)]
        table = np.array([self._score_class(results, label) for label in range(len(names))])
        table = table.reshape(len(names), len(self.iou_thrs) + 2)
        metrics = {f'AP{round(100 * thr):02d}': _mean(table[:, 2 + column])
                   for column, thr in enumerate(self.iou_thrs)}
        self._log(names, table, list(metrics))
        return dict(mAP=_mean(np.array(list(metrics.values()))), **metrics)

    def _score_class(self, results: list[ImageResult], label: int) -> list[float]:
        """Number of truths, number of detections, AP per threshold."""
        scores, verdicts, positives = [], [[] for _ in self.iou_thrs], 0
        for result in results:
            truth, found = result.truth.labels == label, np.flatnonzero(result.labels == label)
            ignored = result.truth.ignored[truth]
            positives += int((~ignored).sum())
            found = found[np.argsort(-result.scores[found], kind='stable')]
            ious = box_ious(result.boxes[found], result.truth.boxes[truth], extent=self.extent)
            scores.append(result.scores[found])
            for column, thr in enumerate(self.iou_thrs):
                verdicts[column].append(match_image(ious, ignored, thr))
        all_scores = np.concatenate([np.zeros(0), *scores])
        aps = [average_precision(all_scores, np.concatenate([np.zeros(0, np.int64), *column]), positives,
                                 mode=self.eval_mode) for column in verdicts]
        return [float(positives), float(len(all_scores)), *aps]

    @staticmethod
    def _log(names: Sequence[str], table: np.ndarray, columns: Sequence[str]) -> None:
        rows = [['class', 'truths', 'detections', *columns]]
        rows += [[name, int(row[0]), int(row[1]), *(f'{ap:.3f}' if ap >= 0 else '-' for ap in row[2:])]
                 for name, row in zip(names, table)]
        print_log(f'VOC average precision of every class\n{AsciiTable(rows).table}', logger='current')


def _mean(values: np.ndarray) -> float:
    defined = values[values >= 0]
    return float(defined.mean()) if defined.size else -1.0
