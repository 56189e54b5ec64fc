"""How good masks are that were made from boxes, against the truth and against the boxes themselves."""
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from mmengine.logging import print_log
from pycocotools import mask as rle_codec
from terminaltables import AsciiTable

from maskforge.formats import rle
from maskforge.registry import METRICS

from .coco_metric import CocoMetric
from .gathered_metric import GatheredMetric
from .image_result import ImageResult, ImageTruth, to_numpy, to_rles

#: areas (square pixels) at which a box becomes medium and large; half-open
SIZE_LIMITS = (32**2, 96**2)
SIZES = ('small', 'medium', 'large')


@dataclass(slots=True)
class BoxResult:
    """One box: IoU of its mask and of the box itself with the truth, class, size, and the masks for the mask AP."""

    key: tuple
    image: tuple
    ori_shape: tuple[int, int]
    label: int
    size: int
    iou: float
    box_iou: float
    score: float
    box: np.ndarray
    mask: dict | None
    truth: dict | None


@METRICS.register_module()
class PseudoLabelMetric(GatheredMetric):
    """IoU of pseudo-masks with true masks, one sample per box.

    Result keys: ``mal/mIoU``, the mean over classes of the mean IoU of their objects, in the frame of the image;
    ``mal/mIoU_small``, ``_medium``, ``_large`` by the area of the box (below 32^2, below 96^2, the rest);
    ``mal/IoU``, the mean over objects; ``mal/box_mIoU``, what the boxes themselves score as masks; and with
    ``mask_ap`` the COCO figures ``mal/mask_AP`` and ``mal/mask_AP50`` of the masks ranked by their quality. A size or
    class without objects has no key.

    Args:
        mask_ap: also compute the mask AP.
        classwise: return ``<class>_IoU`` too; the table is always printed.
        collect_device, prefix, collect_dir: see :class:`GatheredMetric`.

    Raises:
        ValueError: a sample has no true mask (``load_mask=True`` of the data set loads it).
    """

    default_prefix = 'mal'

    def __init__(self, *, mask_ap: bool = True, classwise: bool = False, collect_device: str = 'cpu',
                 prefix: str | None = None, collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.mask_ap, self.classwise = mask_ap, classwise

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare each box's mask with its truth."""
        self.results += [self._compare(sample) for sample in data_samples]

    def compute_metrics(self, results: list[BoxResult]) -> dict[str, float]:
        """Average; see the class for the keys."""
        if not results:
            return {}
        ious, boxes = (np.array([getattr(r, name) for r in results]) for name in ('iou', 'box_iou'))
        labels, sizes = (np.array([getattr(r, name) for r in results]) for name in ('label', 'size'))
        metrics = dict(mIoU=class_mean(ious, labels), IoU=float(ious.mean()), box_mIoU=class_mean(boxes, labels))
        metrics |= {f'mIoU_{name}': class_mean(ious[sizes == number], labels[sizes == number])
                    for number, name in enumerate(SIZES) if (sizes == number).any()}
        names = (self.dataset_meta or {}).get('classes') or [str(label) for label in range(labels.max() + 1)]
        self._log(names, ious, boxes, labels)
        if self.classwise:
            metrics |= {f'{names[label]}_IoU': float(ious[labels == label].mean()) for label in np.unique(labels)}
        return metrics | (self._average_precision(results) if self.mask_ap else {})

    def _compare(self, sample: dict) -> BoxResult:
        truth, found = sample.get('gt_instances') or {}, sample['pred_instances']
        if 'masks' not in truth:
            raise ValueError(f'{sample.get("img_path")}, annotation {sample.get("ann_id")}: there is no true mask to '
                             f'compare with; set load_mask=True of the data set, or leave PseudoLabelMetric out.')
        size = tuple(int(side) for side in sample['ori_shape'][:2])
        mask, true = to_rles(found['masks'])[0], to_rles(truth['masks'])[0]
        box = np.asarray(sample['box'], np.float64)
        of_mask, of_box = rle_codec.iou([mask, box_rle(box, size)], [true], [False])[:, 0]
        bin_number = int(np.searchsorted(SIZE_LIMITS, sample['box_area'], 'right'))
        return BoxResult(
            key=(sample['img_id'], sample['ann_id']), image=(sample['img_id'], sample.get('img_path')), ori_shape=size,
            label=int(to_numpy(truth['labels'])[0]), size=bin_number,
            iou=float(of_mask), box_iou=float(of_box), score=float(to_numpy(found['scores'])[0]), box=box,
            mask=mask if self.mask_ap else None, truth=true if self.mask_ap else None)

    def _average_precision(self, results: list[BoxResult]) -> dict[str, float]:
        metric = CocoMetric(metric='segm', metric_items=('mAP', 'mAP_50'))
        metric.dataset_meta = self.dataset_meta
        ordered = sorted(results, key=lambda result: tuple(map(str, result.image)))
        images = [_image_result(list(group)) for _, group in groupby(ordered, key=lambda result: result.image)]
        values = metric.compute_metrics(images)
        return dict(mask_AP=values['segm_mAP'], mask_AP50=values['segm_mAP_50'])

    @staticmethod
    def _log(names: Sequence[str], ious: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> None:
        rows = [['class', 'objects', 'IoU', 'IoU of the box']]
        rows += [[names[label], int((labels == label).sum()), f'{ious[labels == label].mean():.3f}',
                  f'{boxes[labels == label].mean():.3f}'] for label in np.unique(labels)]
        print_log(f'Masks from boxes\n{AsciiTable(rows).table}', logger='current')


def class_mean(values: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over the classes that occur of the means of their objects."""
    return float(np.mean([values[labels == label].mean() for label in np.unique(labels)]))


def box_rle(box: np.ndarray, size: tuple[int, int]) -> dict:
    """Return a box (xyxy) as a mask: the pixels whose centre is inside."""
    height, width = size
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    inside = ((rows >= box[1]) & (rows < box[3]))[:, None] & ((columns >= box[0]) & (columns < box[2]))
    return rle.encode(inside)


def _image_result(boxes: list[BoxResult]) -> ImageResult:
    """All boxes of one image as COCO evaluation takes them."""
    corners = np.array([box.box for box in boxes], np.float32)
    labels = np.array([box.label for box in boxes], np.int64)
    truth = ImageTruth(corners.astype(np.float64), labels, np.zeros(len(boxes), bool), [box.truth for box in boxes])
    return ImageResult(*boxes[0].image, boxes[0].ori_shape, corners,
                       np.array([box.score for box in boxes], np.float32), labels, [box.mask for box in boxes],
                       truth=truth)
