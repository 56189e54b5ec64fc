"""DETR's recipes as one transform each, in the words of TAO's ``dataset.augmentation``."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS

from .compose import Compose
from .ground_truth import Number
from .short_side_resize import ShortSideResize

SCALES = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
#: LSJ draws its scale from this range (Ghiasi et al., Simple Copy-Paste, 2021: large scale jittering)
JITTER = (0.1, 2.0)


@TRANSFORMS.register_module()
class DETRTrainTransform(BaseTransform):
    """Flip, then with equal chances resize, or resize, crop and resize (Carion et al., DETR, 2020, appendix A.4).

    Stands after ``LoadAnnotations`` and before ``PackDetInputs``. Images whose crop shows nothing are kept.

    Args:
        scales: lengths of the short side, one drawn at random.
        random_resize_max_size: the long side is at most this.
        horizontal_flip_prob: probability of a flip.
        train_random_resize: lengths of the short side before the crop.
        train_random_crop_min, train_random_crop_max: sides of the crop are drawn between these.
        fixed_padding: pad every batch to max(scales) x random_resize_max_size (see :class:`FixedPad`).
        fixed_random_crop: side S of large-scale jitter instead of all resizes and crops above: a random scale of 0.1
            to 2 times S, a crop of at most S x S, padded to S x S. Divisible by 32.
        keep_crowds: train on crowd regions as on objects, as TAO does; by default they are ignored, as in the paper's
            code.
        resize_backend: 'pillow' as the paper's code, or 'cv2', which is faster and does not average.

    Raises:
        ValueError: ``fixed_random_crop`` is not divisible by 32, or a size is impossible.
    """

    def __init__(self, scales: Sequence[int] = SCALES, *, random_resize_max_size: int = 1333,
                 horizontal_flip_prob: Number = 0.5, train_random_resize: Sequence[int] = (400, 500, 600),
                 train_random_crop_min: int = 384, train_random_crop_max: int = 600, fixed_padding: bool = False,
                 fixed_random_crop: int | None = None, keep_crowds: bool = False, resize_backend: str = 'pillow'):
        self.keep_crowds = keep_crowds
        flip = dict(type='RandomFlip', prob=horizontal_flip_prob)
        if fixed_random_crop is not None:
            self.steps = Compose([flip, *_jitter(fixed_random_crop, resize_backend)])
            return
        resize = dict(type='ShortSideResize', sides=scales, max_size=random_resize_max_size, strict=fixed_padding,
                      backend=resize_backend)
        before_crop = dict(type='ShortSideResize', sides=train_random_resize, backend=resize_backend)
        crop = dict(type='RandomCrop', crop_size=(train_random_crop_min, train_random_crop_max),
                    crop_type='absolute_range', allow_negative_crop=True)
        pad = [dict(type='FixedPad', short=max(scales), long=random_resize_max_size)] if fixed_padding else []
        choice = dict(type='RandomChoice', transforms=[[resize], [before_crop, crop, resize]])
        self.steps = Compose([flip, choice, *pad])

    def transform(self, results: dict) -> dict | None:
        if self.keep_crowds and 'gt_ignore_flags' in results:
            results['gt_ignore_flags'] = np.zeros_like(results['gt_ignore_flags'])
        return self.steps(results)


@TRANSFORMS.register_module()
class DETRTestTransform(BaseTransform):
    """The resize of evaluation and inference.

    Args:
        test_random_resize: length of the short side.
        random_resize_max_size: the long side is at most this.
        fixed_padding: pad every batch to test_random_resize x random_resize_max_size.
        input_width, input_height: resize to exactly this instead, whatever the image's proportions; both or none.
        resize_backend: as in :class:`DETRTrainTransform`.

    Raises:
        ValueError: only one of ``input_width`` and ``input_height``, or these with ``fixed_padding``.
    """

    def __init__(self, test_random_resize: int = 800, *, random_resize_max_size: int = 1333,
                 fixed_padding: bool = False, input_width: int | None = None, input_height: int | None = None,
                 resize_backend: str = 'pillow'):
        if (input_width is None) != (input_height is None) or (input_width and fixed_padding):
            raise ValueError('DETRTestTransform: input_width and input_height go together and exclude fixed_padding; '
                             f'got input_width={input_width}, input_height={input_height}, '
                             f'fixed_padding={fixed_padding}')
        if input_width:
            steps = [dict(type='Resize', scale=(input_width, input_height), backend=resize_backend)]
        else:
            steps = [dict(type='ShortSideResize', sides=test_random_resize, max_size=random_resize_max_size,
                          strict=fixed_padding, backend=resize_backend)]
        if fixed_padding:
            steps.append(dict(type='FixedPad', short=test_random_resize, long=random_resize_max_size))
        self.steps = Compose(steps)

    def transform(self, results: dict) -> dict | None:
        return self.steps(results)

    @staticmethod
    def resize_rule(test_random_resize: int = 800, random_resize_max_size: int = 1333, input_width: int | None = None,
                    input_height: int | None = None, **_) -> dict:
        """What an exported file says about its input: the bounds of the resize."""
        if input_width:
            return dict(scale=(input_width, input_height), keep_ratio=False)
        return ShortSideResize.resize_rule(test_random_resize, random_resize_max_size)


def _jitter(side: int, backend: str) -> list[dict]:
    if side <= 0 or side % 32:
        raise ValueError(f'fixed_random_crop={side} must be positive and divisible by 32 (the stride of the backbone); '
                         f'the nearest are {max(side // 32, 1) * 32} and {(max(side, 0) // 32 + 1) * 32}')
    return [dict(type='RandomResize', scale=(side, side), ratio_range=JITTER, keep_ratio=True, backend=backend),
            dict(type='RandomCrop', crop_size=(side, side), allow_negative_crop=True),
            dict(type='FixedPad', short=side, long=side)]
