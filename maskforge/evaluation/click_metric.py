"""How well objects of images are segmented after one, three and five clicks."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.logging import print_log
from pycocotools import mask as rle_codec
from terminaltables import AsciiTable

from maskforge.registry import METRICS
from maskforge.structures import InstanceMasks

from .gathered_metric import GatheredMetric
from .image_result import ImageTruth, prediction, to_rles

PREFIX_OF_MASKS = 'masks_'


@dataclass(slots=True)
class ClickResult:
    """One image: its objects' IoU after each number of clicks, (N,) float64."""

    key: tuple
    ious: dict[int, np.ndarray]


@METRICS.register_module()
class ClickMetric(GatheredMetric):
    """Mean IoU over objects after simulated clicks, as the model left it in ``pred_clicks``.

    Result keys: ``clicks/mIoU_1``, ``clicks/mIoU_3`` ... by number of clicks, in [0, 1]; the numbers are the model's
    (``test_cfg=dict(prompts='clicks', clicks=(1, 3, 5))``). Two empty masks have IoU 1.

    Args:
        collect_device, prefix, collect_dir: see :class:`GatheredMetric`.

    Raises:
        ValueError: a sample without ``pred_clicks``, without true masks, or with others than ``gt_instances``.
    """

    default_prefix = 'clicks'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare every object's masks with its truth."""
        self.results += [self._compare(sample) for sample in data_samples]

    def compute_metrics(self, results: list[ClickResult]) -> dict[str, float]:
        """Average over objects."""
        counts = sorted({count for result in results for count in result.ious})
        if not counts:
            return {}
        ious = {count: np.concatenate([result.ious[count] for result in results]) for count in counts}
        if not len(ious[counts[0]]):
            raise ValueError('ClickMetric: the images have no objects with masks, so there is no IoU to average.')
        rows = [['clicks', 'objects', 'mIoU'], *([str(count), str(len(values)), f'{values.mean():.4f}']
                                                 for count, values in ious.items())]
        print_log(f'Masks from clicks\n{AsciiTable(rows).table}', logger='current')
        return {f'mIoU_{count}': float(values.mean()) for count, values in ious.items()}

    @staticmethod
    def _compare(sample: dict) -> ClickResult:
        if 'pred_clicks' not in sample:
            raise ValueError(f"image {sample.get('img_id')!r}: the data sample has no pred_clicks; ClickMetric needs a "
                             "model that simulates clicks: SAM2 with test_cfg=dict(prompts='clicks').")
        found = prediction(sample, 'pred_clicks')
        counts = [int(name.removeprefix(PREFIX_OF_MASKS)) for name in found if name.startswith(PREFIX_OF_MASKS)]
        truth = _true_rles(sample)
        ious = {}
        for count in counts:
            masks = to_rles(found[f'{PREFIX_OF_MASKS}{count}'])
            if len(masks) != len(truth):
                raise ValueError(f"image {sample.get('img_id')!r}: {len(masks)} masks for {len(truth)} objects.")
            ious[count] = np.array([mask_iou(*pair) for pair in zip(masks, truth)], np.float64)
        return ClickResult((sample['img_id'], sample.get('img_path')), ious)


def mask_iou(first: dict, second: dict) -> float:
    """Return the IoU of two RLEs of one size; 1 where both are empty."""
    if not rle_codec.area(first) and not rle_codec.area(second):
        return 1.
    return float(rle_codec.iou([first], [second], [False])[0, 0])


def _true_rles(sample: dict) -> list[dict]:
    height, width = sample['ori_shape'][:2]
    truth = ImageTruth.from_sample(dict(sample, instances=None, ignored_instances=None))
    if truth.segmentations is None:
        if not len(truth.boxes):
            return []
        raise ValueError(f"image {sample.get('img_id')!r}: ClickMetric needs true masks; set "
                         'LoadAnnotations(with_mask=True) in the test pipeline.')
    return InstanceMasks(truth.segmentations, height, width).to_rles()
