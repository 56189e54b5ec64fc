"""The visualizer of training, testing and inference: draws samples and hands pictures to MMEngine's back ends."""
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import no_type_check

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.logging import print_log
from mmengine.visualization import Visualizer

from maskforge.registry import VISUALIZERS
from maskforge.structures import DetDataSample

from .draw_instances import draw_instances
from .draw_predictions import PREDICTIONS, draw_predictions
from .sample_frame import truth_in_frame

_NO_WINDOW = {'agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template'}


@VISUALIZERS.register_module()
class DetLocalVisualizer(Visualizer):
    """Draws ground truth and predictions of boxes, masks and segments; all of MMEngine's drawing methods are there too.

    Args:
        name, image, vis_backends, save_dir: see ``mmengine.visualization.Visualizer``.
        bbox_color: RGB triple, list of triples by class, or ``'random'``; the data set's palette by default.
        mask_color: the same for masks; as the boxes by default.
        text_color: RGB triple; black or white by default, whichever reads better on the label's ground.
        line_width: pixels; follows the size of the picture by default.
        alpha: opacity of masks and segments, 0 to 1.
        min_side: pictures with a shorter side below this are enlarged before drawing; 0 keeps their size.
    """

    # MMEngine's metaclass reads the argument names of __init__, which a type-checking wrapper would hide
    @no_type_check
    def __init__(self,
                 name: str = 'visualizer',
                 image: np.ndarray | None = None,
                 vis_backends: list | dict | None = None,
                 save_dir: str | None = None,
                 *,
                 bbox_color: Sequence | str | None = None,
                 text_color: Sequence[int] | None = None,
                 mask_color: Sequence | str | None = None,
                 line_width: int | None = None,
                 alpha: float = 0.45,
                 min_side: int = 0) -> None:
        super().__init__(name=name, image=image, vis_backends=vis_backends, save_dir=save_dir)
        self.bbox_color, self.mask_color, self.text_color = bbox_color, mask_color, text_color
        self.line_width, self.alpha, self.min_side = line_width, alpha, min_side
        # the data set's classes and palette; set by the loops, or by the user of a visualizer of his own
        self.dataset_meta = {}

    @master_only
    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: DetDataSample | None = None,
                       draw_gt: bool = True,
                       draw_pred: bool = True,
                       show: bool = False,
                       wait_time: float = 0.0,
                       out_file: str | Path | None = None,
                       pred_score_thr: float = 0.3,
                       step: int = 0) -> None:
        """Draw a sample, truth at the left and predictions at the right where it has both.

        Args:
            name: the picture's name in the back ends.
            image: (H, W, 3) uint8 RGB; the original image, or the resized one for samples without predictions.
            data_sample: what to draw; without it the image is shown as it is.
            draw_gt, draw_pred: which parts.
            show: open a window (skipped with a warning where there is no display).
            wait_time: seconds that the window stays open; 0 waits for a key.
            out_file: write the picture here instead of handing it to the back ends.
            pred_score_thr: predictions with a lower score are left out.
            step: number of the picture in the back ends.
        """
        drawn = self._draw(image, data_sample, draw_gt, draw_pred, pred_score_thr)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
            return
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(out_file), drawn[..., ::-1]):
            raise ValueError(f'{out_file}: the picture could not be written; the name must end in .jpg or .png.')

    def _draw(self, image: np.ndarray, sample: DetDataSample | None, draw_gt: bool, draw_pred: bool,
              score_thr: float) -> np.ndarray:
        bgr = np.ascontiguousarray(image[..., ::-1])
        panels = []
        if sample is not None and draw_gt and ('gt_instances' in sample or 'ignored_instances' in sample):
            panels.append(self._panel(bgr, truth_in_frame(sample, bgr.shape[:2]), score_thr))
        if sample is not None and draw_pred and any(name in sample for name in PREDICTIONS):
            height, width = sample.metainfo.get('ori_shape', bgr.shape)[:2]
            if bgr.shape[:2] != (height, width):
                bgr = cv2.resize(bgr, (width, height))
            panels.append(self._panel(bgr, sample, score_thr, draw=draw_predictions))
        heights = [panel.shape[0] for panel in panels]
        if len(set(heights)) > 1:  # the truth is drawn on the network's input
            panels[0] = cv2.resize(panels[0], (round(bgr.shape[1] * heights[1] / bgr.shape[0]), heights[1]))
        return np.ascontiguousarray((np.concatenate(panels, axis=1) if panels else bgr)[..., ::-1])

    def _panel(self, bgr: np.ndarray, sample: DetDataSample, score_thr: float,
               draw: Callable[..., np.ndarray] = draw_instances) -> np.ndarray:
        meta = self.dataset_meta or {}
        palette = self.bbox_color if self.bbox_color is not None else meta.get('palette')
        return draw(bgr, sample, meta.get('classes'), palette, score_thr, alpha=self.alpha,
                    line_width=self.line_width, mask_palette=self.mask_color, text_color=self.text_color,
                    min_side=self.min_side)

    @master_only
    def show(self, drawn_img: np.ndarray | None = None, win_name: str = 'image', wait_time: float = 0.,
             continue_key: str = ' ', backend: str = 'matplotlib') -> None:
        """Show a picture in a window of matplotlib's.

        Without a display nothing is opened and a warning says so; OpenCV's windows end the whole process there, so
        ``backend='cv2'`` is not offered.
        """
        if backend != 'matplotlib':
            raise ValueError(f"backend={backend!r}: windows are opened by 'matplotlib' only.")
        import matplotlib.pyplot as plt
        if plt.get_backend().lower() in _NO_WINDOW:
            print_log('no display to show pictures on; write them to files instead (out_file, --show-dir).',
                      logger='current', level=logging.WARNING)
            return
        super().show(drawn_img, win_name=win_name, wait_time=wait_time, continue_key=continue_key)
