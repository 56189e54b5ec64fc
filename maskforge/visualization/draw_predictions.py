"""Draw whatever a sample predicts: one panel for segments, one for instances, one for the semantic map."""
from collections.abc import Callable, Collection, Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.structures import BaseDataElement

from .draw_instances import draw_instances
from .draw_panoptic import draw_panoptic, draw_semantic

#: the fields of a sample that are drawn, in the order of their panels
PREDICTIONS = ('pred_panoptic', 'pred_instances', 'pred_sem_seg')


def draw_predictions(image: np.ndarray,
                     sample: BaseDataElement,
                     classes: Sequence[str] | None = None,
                     palette: Sequence | str | None = None,
                     score_thr: float = 0.3,
                     *,
                     only: Collection[int] | None = None,
                     min_side: int = 0,
                     line_width: int | None = None,
                     alpha: float | None = None,
                     **of_instances: Any) -> np.ndarray:
    """Return ``image`` with the predictions of ``sample``, side by side where it has several kinds.

    Args:
        image: (H, W, 3) uint8 BGR at the original size.
        sample: with any of ``pred_panoptic``, ``pred_instances`` and ``pred_sem_seg``.
        classes, palette, score_thr, line_width, min_side: see :func:`draw_instances` and :func:`draw_panoptic`.
        only: classes that are drawn; None draws all.
        alpha: opacity of masks and segments; None takes what suits each kind.
        **of_instances: more arguments of :func:`draw_instances`.

    Raises:
        ValueError: the sample has none of them.
    """
    looks: dict[str, Any] = dict(line_width=line_width, min_side=min_side)
    if alpha is not None:
        looks['alpha'] = alpha
    draw: dict[str, Callable[[Any], np.ndarray]] = {
        'pred_panoptic': lambda found: draw_panoptic(image, found, classes, palette, score_thr, only=only, **looks),
        'pred_instances': lambda found: draw_instances(image, _of_classes(found, only), classes, palette, score_thr,
                                                       **looks, **of_instances),
        'pred_sem_seg': lambda found: draw_semantic(image, found.sem_seg.squeeze(0).cpu().numpy(), classes, palette,
                                                    only=only, **looks),
    }
    panels = [draw[name](sample.get(name)) for name in PREDICTIONS if name in sample]
    if not panels:
        raise ValueError(f'the sample has no predictions to draw: none of {", ".join(PREDICTIONS)}.')
    return cv2.hconcat(panels)


def _of_classes(found: Any, only: Collection[int] | None) -> Any:
    return found if only is None else found[np.flatnonzero(np.isin(found.labels.cpu().numpy(), list(only)))]
