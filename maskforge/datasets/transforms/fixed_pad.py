"""Batches of one fixed size."""
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FixedPad(BaseTransform):
    """Let the data preprocessor pad the batch to one size, whatever the images in it are.

    The image itself and ``img_shape`` stay as they are, so padding masks still mark the padding; it is zero after
    normalisation. Sets ``min_batch_shape`` (h, w). A batch with upright and other images is padded to
    ``long`` x ``long``.

    Args:
        short, long: sides of the batch in pixels; an upright image (height > width) stands on the short one.

    Raises:
        ValueError: a side is not positive, or ``short`` is longer than ``long``.
    """

    def __init__(self, short: int, long: int):
        if not 0 < short <= long:
            raise ValueError(f'FixedPad: 0 < short <= long is needed, got short={short}, long={long}')
        self.short, self.long = short, long

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        results['min_batch_shape'] = (self.long, self.short) if height > width else (self.short, self.long)
        return results
