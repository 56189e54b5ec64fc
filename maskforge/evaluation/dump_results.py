"""Write predictions to one JSON file, beside whatever else is evaluated."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from maskforge.registry import METRICS

from .class_map import ClassMap
from .coco_results import result_records, write_results
from .gathered_metric import GatheredMetric
from .image_result import ImageResult


@METRICS.register_module(name=['DumpResults', 'DumpDetResults'])
class DumpResults(GatheredMetric):
    """Writes all predictions as COCO results: ``image_id``, ``category_id`` (original ids), ``score``, ``bbox`` xywh
    and, for models with masks, ``segmentation``. It computes nothing.

    Args:
        out_file_path: file to write; must end in ``.json`` (pickles are not written).
        collect_device, collect_dir: see :class:`GatheredMetric`.

    Raises:
        ValueError: another ending.
    """

    default_prefix = 'results'

    def __init__(self, out_file_path: str | Path, *, collect_device: str = 'cpu',
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        if Path(out_file_path).suffix != '.json':
            raise ValueError(f'{out_file_path}: predictions are written as COCO results; the file name must end in '
                             '.json.')
        self.out_file_path = Path(out_file_path)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of each sample."""
        self.results += [ImageResult.from_sample(sample, with_masks='masks' in sample.get('pred_instances', {}),
                                                 with_truth=False) for sample in data_samples]

    def compute_metrics(self, results: list[ImageResult]) -> dict:
        """Write the file; no values."""
        classes = ClassMap.from_meta(self.dataset_meta or {})
        records = [record for result in results
                   for record in result_records(result, classes, masks=result.rles is not None)]
        path = write_results(records, self.out_file_path)
        print_log(f'{len(records)} predictions of {len(results)} images written to {path}', logger='current')
        return {}
