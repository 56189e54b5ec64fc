"""COCO average precision and recall of boxes, masks and proposals."""
import difflib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.fileio import exists
from mmengine.logging import print_log
from terminaltables import AsciiTable

from maskforge.formats.category_rows import used_rows
from maskforge.formats.coco_files import find_json_files
from maskforge.registry import METRICS

from .class_map import ClassMap
from .coco_results import detection_rows, result_records, write_results
from .coco_scores import CocoScores, evaluate_coco, load_backend
from .coco_truth import CocoTruth
from .gathered_metric import GatheredMetric
from .image_result import ImageResult

KINDS = ('bbox', 'segm', 'proposal')
PRECISIONS = {'mAP': (None, 'all'), 'mAP_50': (0.5, 'all'), 'mAP_75': (0.75, 'all'),
              'mAP_s': (None, 's'), 'mAP_m': (None, 'm'), 'mAP_l': (None, 'l')}


@METRICS.register_module()
class CocoMetric(GatheredMetric):
    """COCO metrics by the reference evaluation code.

    Result keys: ``coco/<metric>_mAP``, ``_mAP_50``, ``_mAP_75``, ``_mAP_s``, ``_mAP_m``, ``_mAP_l``; for proposals
    ``coco/AR@<n>`` and ``coco/AR_s@<n>`` ... at the largest n. Values lie in [0, 1]; -1 means that there is no ground
    truth of that kind. AP is taken at the largest of ``proposal_nums``.

    Args:
        ann_file: COCO JSON with the truth; a pattern or a list for a data set of several sources, in the same order as
            there (image ids that two files share are renumbered alike). Without it, the truth travels in the data
            samples (``gt_instances``, crowds in ``ignored_instances``), so any data set can be scored.
        metric: ``'bbox'``, ``'segm'``, ``'proposal'`` (class-agnostic recall of boxes) or a list of them.
        classwise: print a table of every class and return ``<class>_precision`` (``<metric>_<class>_precision`` where
            several metrics are asked for).
        proposal_nums: detections counted per image (and class); a number or a sequence of any length.
        iou_thrs: IoU thresholds, a number or a sequence; 0.5 to 0.95 in steps of 0.05 by default. ``mAP_50`` and
            ``mAP_75`` are left out where their threshold is not among them.
        metric_items: which items to return: the names above without the metric, and ``AR@<n>``, ``AR_s@<n>`` ...
        format_only: write the result files and compute nothing; needs ``outfile_prefix``.
        outfile_prefix: results are written to ``<prefix>.bbox.json`` and ``<prefix>.segm.json`` with the original
            image and category ids.
        sort_categories: always in effect: classes are matched by name or id, never by position, and where the data
            set names none they are in the order of their ids. ``False`` is warned of.
        backend_args: storage back end of ``ann_file`` (MMEngine's file io).
        backend: ``'pycocotools'`` or ``'faster_coco_eval'`` (``pip install maskforge[fast]``).
        collect_device, prefix, collect_dir: see :class:`GatheredMetric`.

    Raises:
        ValueError: an unknown metric, item or back end, ``format_only`` without a prefix.
        FileNotFoundError: ``ann_file`` does not exist.
    """

    default_prefix = 'coco'

    def __init__(self,
                 ann_file: str | Path | Sequence[str | Path] | None = None,
                 metric: str | Sequence[str] = 'bbox',
                 *,
                 classwise: bool = False,
                 proposal_nums: int | Sequence[int] = (100, 300, 1000),
                 iou_thrs: float | Sequence[float] | None = None,
                 metric_items: str | Sequence[str] | None = None,
                 format_only: bool = False,
                 outfile_prefix: str | Path | None = None,
                 sort_categories: bool = True,
                 backend: str = 'pycocotools',
                 backend_args: dict | None = None,
                 collect_device: str = 'cpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.kinds = _as_list(metric)
        _check_names(self.kinds, KINDS, 'metric')
        self.max_dets = sorted({int(n) for n in _as_list(proposal_nums)})
        if not self.max_dets or self.max_dets[0] < 1:
            raise ValueError(f'proposal_nums={proposal_nums!r} must be positive numbers of detections per image.')
        self.iou_thrs = None if iou_thrs is None else [float(thr) for thr in _as_list(iou_thrs)]
        if self.iou_thrs is not None and not all(0 < thr <= 1 for thr in self.iou_thrs):
            raise ValueError(f'iou_thrs={iou_thrs!r} must lie in (0, 1].')
        self.metric_items = None if metric_items is None else _as_list(metric_items)
        _check_names(self.metric_items or (), [*PRECISIONS, *self._recall_items()], 'metric_items')
        if format_only and outfile_prefix is None:
            raise ValueError('format_only=True writes result files: say where with outfile_prefix.')
        load_backend(backend)
        self.ann_file, self.backend_args, self.classwise, self.backend = ann_file, backend_args, classwise, backend
        self._ann_files = () if ann_file is None else _find_files(ann_file, backend_args)
        self.format_only, self.outfile_prefix = format_only, outfile_prefix
        if not sort_categories:
            print_log('CocoMetric.sort_categories=False has no effect: classes are matched by name or id.',
                      'current', logging.WARNING)
        self._truth: CocoTruth | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what scoring needs of each predicted sample; masks stay run-length coded."""
        for sample in data_samples:
            self.results.append(ImageResult.from_sample(
                sample, with_masks='segm' in self.kinds,
                with_truth=self.ann_file is None and not self.format_only))

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Write result files where asked, then score; see the class for the keys."""
        if self.format_only and self.ann_file is None:
            self._write(results, ClassMap.from_meta(self.dataset_meta or {}))
            return {}
        truth = self._load_truth(results)
        if self.outfile_prefix is not None:
            self._write(results, truth.classes)
        if self.format_only:
            return {}
        positions = self._positions(results, truth)
        metrics: dict[str, float] = {}
        for kind in self.kinds:
            scores = self._score(kind, results, positions, truth)
            metrics.update(self._items(kind, scores))
            if self.classwise and kind != 'proposal':
                metrics.update(self._per_class(kind, scores, truth.classes))
        return metrics

    def _load_truth(self, results: list[ImageResult]) -> CocoTruth:
        if self.ann_file is None:
            return CocoTruth.from_results(results, self.dataset_meta or {})
        if self._truth is None:
            self._truth = CocoTruth.from_files(
                self._ann_files, self.dataset_meta, with_masks='segm' in self.kinds, backend_args=self.backend_args)
        return self._truth

    def _positions(self, results: list[ImageResult], truth: CocoTruth) -> list[int]:
        """Internal image id of every result; images that the truth does not know are an error."""
        keys = [result.key if self.ann_file is None else result.img_id for result in results]
        unknown = [result for result, key in zip(results, keys) if key not in truth.positions]
        if unknown:
            first = unknown[0]
            raise ValueError(
                f'{truth.source} has no image with id {first.img_id!r} ({first.img_path}); {len(unknown)} of '
                f'{len(results)} predicted images are unknown to it. ann_file of the metric must be the file that the '
                'evaluated data set reads.')
        other = [result for result in results if self.ann_file is not None
                 and not str(result.img_path or '').endswith(truth.file_names.get(result.img_id, ''))]
        if other:
            raise ValueError(
                f'image id {other[0].img_id} is {other[0].img_path} for the data set and '
                f'{truth.file_names[other[0].img_id]} for CocoMetric.ann_file: list the files of the sources there in '
                "the data set's order.")
        if len(set(keys)) < len(keys):
            raise ValueError(f'several image files share an id ({len(keys)} images, {len(set(keys))} ids): they come '
                             'from different sources; leave ann_file out so that the truth of the samples is used.')
        if len(keys) < len(truth.positions):
            print_log(f'{len(truth.positions) - len(keys)} of {len(truth.positions)} images of {truth.source} were '
                      'not predicted; they count as images without detections.', 'current', logging.WARNING)
        return [truth.positions[key] for key in keys]

    def _score(self, kind: str, results: list[ImageResult], positions: list[int], truth: CocoTruth) -> CocoScores:
        masks = kind == 'segm'
        if masks and not truth.has_masks:
            raise ValueError(f"metric 'segm': {truth.source} has annotations without a segmentation; set "
                             "metric='bbox', or give masks to every annotation.")
        rows: list[dict] = []
        for result, position in zip(results, positions):
            truth.classes.check_labels(result.labels, image=result.img_id)
            rows += detection_rows(result, position, masks=masks)
        for number, row in enumerate(rows, start=1):
            row['id'] = number
        return evaluate_coco(truth.dataset, rows, kind=kind, max_dets=self.max_dets, iou_thrs=self.iou_thrs,
                             backend=self.backend)

    def _recall_items(self) -> list[str]:
        largest = self.max_dets[-1]
        return [*(f'AR@{n}' for n in self.max_dets), *(f'AR_{area}@{largest}' for area in 'sml')]

    def _items(self, kind: str, scores: CocoScores) -> dict[str, float]:
        """Values of one metric under their result keys (proposal recalls carry no metric name)."""
        default = self._recall_items() if kind == 'proposal' else list(PRECISIONS)
        found = {}
        for item in self.metric_items or default:
            if item in PRECISIONS:
                iou, area = PRECISIONS[item]
                if kind == 'proposal' or (iou is not None and not scores.has_threshold(iou)):
                    continue
                value = scores.average_precision(iou=iou, area=area)
            else:
                name, count = item.split('@')
                value = scores.average_recall(int(count), area=name.partition('_')[2] or 'all')
            found[item if kind == 'proposal' else f'{kind}_{item}'] = value
        return found

    def _per_class(self, kind: str, scores: CocoScores, classes: ClassMap) -> dict[str, float]:
        items = [item for item, (iou, _) in PRECISIONS.items() if iou is None or scores.has_threshold(iou)]
        rows, found = [['class', *items]], {}
        for label in used_rows(classes.names):
            name = classes.names[label]
            values = [scores.average_precision(iou=PRECISIONS[i][0], area=PRECISIONS[i][1], label=label)
                      for i in items]
            rows.append([name, *(f'{value:.3f}' if value > -1 else '-' for value in values)])
            key = f'{name}_precision' if len(self.kinds) == 1 else f'{kind}_{name}_precision'
            found[key] = values[0]
        print_log(f'{kind} of every class\n{AsciiTable(rows).table}', logger='current')
        return found

    def _write(self, results: list[ImageResult], classes: ClassMap) -> None:
        for kind in self.kinds:
            masks = kind == 'segm'
            # mask records carry no box: with one, the reference code would take small, medium and large from the box
            records = [row for result in results
                       for row in result_records(result, classes, masks=masks, boxes=not masks)]
            path = write_results(records, f'{self.outfile_prefix}.{kind}.json')
            print_log(f'{len(records)} results written to {path}', logger='current')


def _find_files(ann_file: str | Path | Sequence[str | Path], backend_args: dict | None) -> list[str | Path]:
    if isinstance(ann_file, (str, Path)) and exists(ann_file, backend_args=backend_args):
        return [ann_file]  # also what MMEngine's file back ends reach
    try:
        return find_json_files(ann_file)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f'CocoMetric.ann_file: {error}') from None


def _as_list(value: Any) -> list:
    return [value] if isinstance(value, (str, int, float)) else list(value)


def _check_names(names: Sequence[str], allowed: Sequence[str], key: str) -> None:
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0.5)
            raise ValueError(f'CocoMetric.{key}: {name!r} is not one of {", ".join(allowed)}.'
                             f'{f" Did you mean {near[0]}?" if near else ""}')
