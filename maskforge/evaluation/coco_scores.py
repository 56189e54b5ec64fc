"""Run the COCO evaluation code and read its tables, for any number of detections per image.

The code's own summary is only defined for (1, 10, 100) detections; the numbers here are read from its accumulated
precision (T thresholds, R recall points, K classes, A area ranges, M detection counts) and recall (T, K, A, M).
-1 stands for "no ground truth to score against", as in the original.
"""
import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

AREAS = ('all', 's', 'm', 'l')


def load_backend(name: str) -> tuple[Callable, Callable]:
    """Return the COCO container and evaluator classes of a back end.

    Raises:
        ValueError: unknown name.
        ImportError: the back end is not installed; the message names the extra.
    """
    if name == 'pycocotools':
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
        return COCO, COCOeval
    if name != 'faster_coco_eval':
        raise ValueError(f"backend={name!r} is not one of 'pycocotools', 'faster_coco_eval'.")
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise ImportError("backend='faster_coco_eval' needs the package faster-coco-eval: "
                          'pip install maskforge[fast]') from error
    return COCO, COCOeval_faster


@dataclass(frozen=True)
class CocoScores:
    """Accumulated tables of one evaluation.

    Attributes:
        precision: (T, R, K, A, M), -1 where undefined.
        recall: (T, K, A, M), -1 where undefined.
        iou_thrs: (T,) thresholds in (0, 1].
        max_dets: M detection counts, rising.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_thrs: np.ndarray
    max_dets: Sequence[int]

    def average_precision(self, *, iou: float | None = None, area: str = 'all', label: int | None = None) -> float:
        """AP at the largest detection count, in [0, 1] or -1; ``iou=None`` averages over all thresholds."""
        table = self.precision[self._rows(iou), :, :, AREAS.index(area), -1]
        return _mean(table if label is None else table[:, :, label])

    def average_recall(self, max_dets: int, *, area: str = 'all') -> float:
        """AR at ``max_dets`` detections per image, averaged over thresholds and classes."""
        return _mean(self.recall[:, :, AREAS.index(area), list(self.max_dets).index(max_dets)])

    def has_threshold(self, iou: float) -> bool:
        """Whether this IoU threshold was evaluated."""
        return bool(np.isclose(self.iou_thrs, iou).any())

    def _rows(self, iou: float | None) -> np.ndarray:
        return np.isclose(self.iou_thrs, iou) if iou is not None else np.ones(len(self.iou_thrs), bool)


def _mean(table: np.ndarray) -> float:
    defined = table[table > -1]
    return float(defined.mean()) if defined.size else -1.0


def evaluate_coco(truth: dict, detections: list[dict], *, kind: str, max_dets: Sequence[int],
                  iou_thrs: Sequence[float] | None = None, backend: str = 'pycocotools') -> CocoScores:
    """Score detections against truth.

    Args:
        truth: COCO data set dict; ids from 1.
        detections: annotations with ``score``, ``bbox`` xywh, ``area``, and ``segmentation`` for masks; ids from 1.
        kind: ``'bbox'``, ``'segm'`` or ``'proposal'`` (boxes, classes ignored).
        max_dets: detection counts per image and class.
        iou_thrs: IoU thresholds; 0.5, 0.55 ... 0.95 by default.
        backend: ``'pycocotools'`` or ``'faster_coco_eval'``.
    """
    container, evaluator = load_backend(backend)
    # both back ends write progress to standard output, which belongs to the user's own log
    with contextlib.redirect_stdout(io.StringIO()):
        gt, dt = _indexed(container, truth, None), _indexed(container, truth, detections)
        run = evaluator(gt, dt, 'segm' if kind == 'segm' else 'bbox')
        run.params.useCats = int(kind != 'proposal')
        run.params.maxDets = sorted(max_dets)
        if iou_thrs is not None:
            run.params.iouThrs = np.asarray(iou_thrs, dtype=np.float64)
        run.evaluate()
        run.accumulate()
    return CocoScores(np.asarray(run.eval['precision']), np.asarray(run.eval['recall']),
                      np.asarray(run.params.iouThrs), run.params.maxDets)


def _indexed(container: Callable, truth: dict, detections: list[dict] | None) -> object:
    """A COCO container of the truth, or of detections on the same images.

    Rows are copied because the evaluation code overwrites segmentations in place.
    """
    rows = truth['annotations'] if detections is None else detections
    found = container()
    found.dataset = dict(images=truth['images'], categories=truth['categories'], annotations=[dict(r) for r in rows])
    found.createIndex()
    return found
