"""uint8 clips to normalised ones, on the model's device."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from maskforge.registry import MODELS


@MODELS.register_module()
class ClipPreprocessor(BaseDataPreprocessor):
    """Colour order and normalisation of clips of one size; whole videos and images stay as they are.

    What predicts on videos and images scales and normalises them itself (with the same ``mean`` and ``std``), frame by
    frame.

    Args:
        mean, std: RGB, on the 0 to 255 scale.
        bgr_to_rgb: reverse the channels, frames being read as BGR. The network is given RGB, so this is True but for
            data that is RGB already.
        non_blocking: copy to the device without waiting for it.

    Raises:
        ValueError: not three values each, or a std that is not positive.
    """

    def __init__(self, *, mean: Sequence[float | int] = (123.675, 116.28, 103.53),
                 std: Sequence[float | int] = (58.395, 57.12, 57.375), bgr_to_rgb: bool = True,
                 non_blocking: bool = True) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f'ClipPreprocessor: mean={list(mean)} and std={list(std)} need three values each, std '
                             f'positive ones.')
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor([float(value) for value in values]).view(3, 1, 1), persistent=False)
        self.bgr_to_rgb = bgr_to_rgb

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return ``dict(inputs, data_samples)``: of clips, a (B, T, 3, H, W) float32 batch.

        Raises:
            ValueError: clips of different lengths or sizes.
        """
        inputs = data['inputs']
        if not all(isinstance(clip, Tensor) for clip in inputs):  # lazy videos
            return dict(inputs=inputs, data_samples=data.get('data_samples'))
        data = self.cast_data(data)
        inputs, samples = data['inputs'], data.get('data_samples')
        if inputs[0].dim() == 3:  # images
            return dict(inputs=inputs, data_samples=samples)
        shapes = {tuple(clip.shape) for clip in inputs}
        if len(shapes) > 1:
            raise ValueError(f'The clips of a batch have shapes (T, 3, H, W) {sorted(shapes)}; they need one '
                             'length and one size: give them one num_frames, and resize to one size.')
        clips = torch.stack(list(inputs))
        clips = (clips.flip(2) if self.bgr_to_rgb else clips).float()
        return dict(inputs=(clips - self.mean) / self.std, data_samples=samples)
