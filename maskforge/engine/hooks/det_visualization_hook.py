"""Pictures of predictions during validation and test."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.hooks import Hook
from mmengine.structures import BaseDataElement

from maskforge.registry import HOOKS


@HOOKS.register_module()
class DetVisualizationHook(Hook):
    """Draws predictions through the runner's visualizer (the config's ``visualizer``).

    Args:
        draw: draw at all.
        interval: in validation, every so many batches the first image is drawn; in a test, every so many images.
            Without an interval: 50 batches of a validation, every image of a test.
        score_thr: predictions below are left out.
        show: open windows.
        wait_time: seconds that a window stays; 0 waits for a key.
        test_out_dir: folder for the pictures of a test, below ``work_dir/<timestamp>``; None hands them to the
            visualizer's back ends.
    """

    def __init__(self, draw: bool = False, interval: int | None = None, score_thr: float = 0.3, show: bool = False,
                 wait_time: float = 0.0, test_out_dir: str | Path | None = None):
        if interval is not None and interval < 1:
            raise ValueError(f'DetVisualizationHook: interval must be at least 1, got {interval}.')
        self.draw = draw or show
        self.val_interval, self.test_interval = interval or 50, interval or 1
        self.score_thr, self.show, self.wait_time, self.test_out_dir = score_thr, show, wait_time, test_out_dir
        self._seen = 0

    def after_val_iter(self, runner, batch_idx: int, data_batch: Any = None,
                       outputs: Sequence[BaseDataElement] | None = None) -> None:
        """Draw the batch's first image if it is due."""
        if self.draw and outputs and batch_idx % self.val_interval == 0:
            self._draw(runner, 'val_img', data_batch, outputs, 0, step=runner.iter + batch_idx)

    def before_test(self, runner) -> None:
        """Count from the start."""
        self._seen = 0

    def after_test_iter(self, runner, batch_idx: int, data_batch: Any = None,
                        outputs: Sequence[BaseDataElement] | None = None) -> None:
        """Draw the images that are due."""
        for index in range(len(outputs or []) if self.draw else 0):
            if self._seen % self.test_interval == 0:
                self._draw(runner, 'test_img', data_batch, outputs, index, step=self._seen,
                           out_file=self._out_file(runner, outputs[index]))
            self._seen += 1

    def _out_file(self, runner, sample: BaseDataElement) -> str | None:
        if self.test_out_dir is None:
            return None
        folder = Path(runner.work_dir) / runner.timestamp / self.test_out_dir
        folder.mkdir(parents=True, exist_ok=True)
        name = Path(str(sample.metainfo.get('img_path') or sample.metainfo.get('img_id'))).name
        return str(folder / (name if Path(name).suffix else f'{name}.png'))

    def _draw(self, runner, name: str, data_batch: Any, outputs: Sequence[BaseDataElement], index: int, *, step: int,
              out_file: str | None = None) -> None:
        sample = outputs[index]
        # the truth of a sample is in the frame of the network's input, unlike the prediction and the picture
        runner.visualizer.add_datasample(
            name, original_image(sample, data_batch, index), data_sample=sample, draw_gt=False, draw_pred=True,
            show=self.show, wait_time=self.wait_time, pred_score_thr=self.score_thr, out_file=out_file, step=step)


def original_image(sample: BaseDataElement, data_batch: dict[str, Any], index: int) -> np.ndarray:
    """The sample's image at its original size, (H, W, 3) uint8 RGB.

    Read from its file; drawn or packed data without a file is taken from the batch and scaled back.
    """
    path = sample.metainfo.get('img_path')
    if path and Path(path).is_file():
        return mmcv.imread(str(path), channel_order='rgb')
    tensor, meta = data_batch['inputs'][index], sample.metainfo
    if isinstance(tensor, (list, tuple)):  # views of test-time augmentation come as [view][image]
        tensor, meta = data_batch['inputs'][0][index], data_batch['data_samples'][0][index].metainfo
    image = tensor.permute(1, 2, 0).cpu().numpy().astype(np.uint8)[..., ::-1]
    height, width = meta.get('ori_shape', image.shape[:2])[:2]
    valid_height, valid_width = meta.get('img_shape', image.shape[:2])[:2]
    image = np.ascontiguousarray(image[:valid_height, :valid_width])
    if meta.get('flip', False):
        image = mmcv.imflip(image, meta.get('flip_direction', 'horizontal'))
    return mmcv.imresize(image, (width, height))
