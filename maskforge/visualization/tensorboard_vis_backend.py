"""TensorBoard as a back end of the visualizer."""
import importlib.util
from numbers import Number
from typing import Any

import numpy as np
import torch
from mmengine.visualization import TensorboardVisBackend as _TensorboardVisBackend

from maskforge.registry import VISBACKENDS


@VISBACKENDS.register_module()
class TensorboardVisBackend(_TensorboardVisBackend):
    """MMEngine's back end; a missing package is named with its remedy, and texts among numbers are passed over.

    Args:
        save_dir: folder of the event files; the runner gives ``work_dir/<timestamp>/vis_data``.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def _init_env(self) -> None:
        if importlib.util.find_spec('tensorboard') is None:
            raise ImportError("vis_backends has a TensorboardVisBackend, but TensorBoard is not installed: "
                              "pip install maskforge[tracking], or take the back end out of the config.")
        super()._init_env()

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs) -> None:
        """Add a number; anything else (a text among the metrics) is for the text logs only."""
        if isinstance(value, (Number, np.ndarray, torch.Tensor)):
            super().add_scalar(name, value, step, **kwargs)
