"""Panoptic quality of a data set, and result files in the official format."""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from terminaltables import AsciiTable

from maskforge.formats.panoptic_json import PanopticJson, read_segments, segment_records, write_panoptic_json
from maskforge.formats.panoptic_png import write_panoptic_png
from maskforge.registry import METRICS
from maskforge.structures import PanopticSegmentation

from .class_map import ClassMap
from .gathered_metric import GatheredMetric
from .image_result import prediction
from .panoptic_quality import PanopticCounts, class_quality, count_segments, summarize_quality


@dataclass(slots=True)
class PanopticResult:
    """One image: its counts, and its record for the result file."""

    key: tuple
    counts: PanopticCounts | None
    image: dict
    annotation: dict | None


@METRICS.register_module()
class CocoPanopticMetric(GatheredMetric):
    """PQ, SQ and RQ over all classes, things (``_th``) and stuff (``_st``), by the official rules.

    Result keys: ``coco_panoptic/PQ``, ``SQ``, ``RQ``, ``PQ_th`` ... ``RQ_st``, in [0, 1]. A sample brings
    ``pred_panoptic``, a :class:`~maskforge.structures.PanopticSegmentation` at the original size.

    Args:
        ann_file: panoptic JSON with the truth.
        seg_prefix: folder of the truth's PNGs; by default the folder beside ``ann_file`` of the same name.
        classwise: print a table of every class, and return ``<class>_PQ``.
        format_only: write the result files and compute nothing; needs ``outfile_prefix``.
        outfile_prefix: results go to ``<prefix>.panoptic.json`` and the PNGs of ``<prefix>.panoptic/``.
        collect_device, prefix, collect_dir: see :class:`GatheredMetric`.

    Raises:
        ValueError: ``format_only`` without a prefix, or a file that contradicts itself.
        FileNotFoundError: ``ann_file`` or ``seg_prefix`` does not exist.
    """

    default_prefix = 'coco_panoptic'

    def __init__(self, ann_file: str | Path, seg_prefix: str | Path | None = None, *, classwise: bool = False,
                 format_only: bool = False, outfile_prefix: str | Path | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None, collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if format_only and outfile_prefix is None:
            raise ValueError('format_only=True writes result files: say where with outfile_prefix.')
        self.truth = PanopticJson.load(ann_file)
        self.folder = Path(seg_prefix) if seg_prefix is not None else Path(ann_file).with_suffix('')
        if not format_only and not self.folder.is_dir():
            raise FileNotFoundError(f'CocoPanopticMetric: the folder of PNGs {self.folder} does not exist; set '
                                    f'seg_prefix.')
        self.classwise, self.format_only, self.outfile_prefix = classwise, format_only, outfile_prefix
        self._rows = self.truth.images.row_of()
        self._classes: ClassMap | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare each predicted sample with its PNG at once, so that no map is kept."""
        for sample in data_samples:
            self.results.append(self._compare(sample))

    def compute_metrics(self, results: list[PanopticResult]) -> dict[str, float]:
        """Write result files where asked, then sum; see the class for the keys."""
        if self.outfile_prefix is not None:
            write_panoptic_json(f'{self.outfile_prefix}.panoptic.json', images=[r.image for r in results],
                                annotations=[r.annotation for r in results], categories=self.truth.categories)
        if self.format_only:
            return {}
        things = self.truth.is_thing
        counts = reduce(PanopticCounts.__add__, (result.counts for result in results),
                        PanopticCounts.zero(len(things)))
        groups = {'': np.ones_like(things), '_th': things, '_st': ~things}
        found = {suffix: summarize_quality(counts, selected) for suffix, selected in groups.items()}
        self._log(found, counts)
        metrics = {f'{name}{suffix}': values[name] for suffix, values in found.items() for name in ('PQ', 'SQ', 'RQ')}
        if self.classwise:
            metrics |= {f'{name}_PQ': float(value)
                        for name, value in zip(self.truth.category_names, class_quality(counts)['PQ'])}
        return metrics

    def _compare(self, sample: dict) -> PanopticResult:
        row = self._rows.get(sample['img_id'])
        if row is None:
            raise ValueError(f'image {sample["img_id"]!r} is not in {self.truth.path}; the metric and the data set '
                             f'need the same annotation file.')
        found: PanopticSegmentation = prediction(sample, 'pred_panoptic')
        category_rows = self._category_rows(found.labels, sample['img_id'])
        counts = None if self.format_only else self._count(row, found, category_rows)
        height, width = self.truth.images.sizes[row].tolist()
        image = dict(id=int(self.truth.images.ids[row]), file_name=self.truth.images.names[row], height=height,
                     width=width)
        annotation = None if self.outfile_prefix is None else self._write(image, found, category_rows)
        return PanopticResult((sample['img_id'],), counts, image, annotation)

    def _count(self, row: int, found: PanopticSegmentation, category_rows: np.ndarray) -> PanopticCounts:
        name = self.truth.png_names[row]
        if not name:
            raise ValueError(f'{self.truth.path}: image {self.truth.images.ids[row]} has no annotation to compare '
                             f'with.')
        segments = self.truth.segments_of(row)
        size = tuple(self.truth.images.sizes[row].tolist())
        if found.segments.shape != size:
            raise ValueError(f'image {self.truth.images.names[row]}: the prediction is {found.segments.shape[1]} x '
                             f'{found.segments.shape[0]} pixels, the truth {size[1]} x {size[0]}.')
        truth = read_segments(self.folder / name, segments, size=size)
        return count_segments(truth, segments.category_rows, segments.crowd, found.segments, category_rows,
                              num_classes=len(self.truth.category_ids))

    def _category_rows(self, labels: np.ndarray, image: object) -> np.ndarray:
        """Class indices of the data set -> rows of the file's categories."""
        if self._classes is None:
            self._classes = ClassMap.match(self.dataset_meta, self.truth.categories, source=self.truth.path)
        self._classes.check_labels(labels, image=image)
        ids = np.array(self._classes.ids, np.int64)[labels]
        rows = np.searchsorted(self.truth.category_ids, ids).clip(max=len(self.truth.category_ids) - 1)
        unknown = ids[self.truth.category_ids[rows] != ids]
        if len(unknown):
            raise ValueError(f'image {image!r}: category id {unknown[0]} was predicted, which {self.truth.path} does '
                             f'not list; evaluate against the annotation file of the data set.')
        return rows

    def _write(self, image: dict, found: PanopticSegmentation, category_rows: np.ndarray) -> dict:
        """Write the PNG; return the JSON record. Segment ids are 1 .. N."""
        name = f'{Path(image["file_name"]).stem}.png'
        write_panoptic_png(found.segments, Path(f'{self.outfile_prefix}.panoptic') / name)
        segments = segment_records(found, self.truth.category_ids[category_rows], self.truth.is_thing[category_rows])
        return dict(image_id=image['id'], file_name=name, segments_info=segments)

    def _log(self, found: dict[str, dict], counts: PanopticCounts) -> None:
        rows = [['', 'PQ', 'SQ', 'RQ', 'classes']]
        for suffix, title in (('', 'all'), ('_th', 'things'), ('_st', 'stuff')):
            values = found[suffix]
            rows.append([title, *(f'{values[name]:.3f}' for name in ('PQ', 'SQ', 'RQ')), values['n']])
        print_log(f'\n{AsciiTable(rows).table}', logger='current')
        if self.classwise:
            per_class = class_quality(counts)
            lines = [[name, *(f'{per_class[key][k]:.3f}' for key in ('PQ', 'SQ', 'RQ')), int(per_class['n'][k])]
                     for k, name in enumerate(self.truth.category_names)]
            print_log(f'\n{AsciiTable([["class", "PQ", "SQ", "RQ", "segments"], *lines]).table}', logger='current')
