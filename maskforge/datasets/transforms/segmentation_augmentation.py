"""Mask2Former's recipes for scenes as one transform each, in the words of TAO's ``dataset.augmentation``."""
import math
from collections.abc import Sequence

from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS

from .compose import Compose
from .ground_truth import VOID, Number
from .short_side_resize import ShortSideResize, short_side_size

#: the coarsest stride of the backbones; crops are padded to a multiple
STRIDE = 32
#: the grey of padding (Cheng et al., Mask2Former, 2022, released code)
GREY = 128
#: SSD's colours as that code has them: its 18 are steps of OpenCV's 8-bit hue, two degrees each; channels stay
COLOURS = dict(type='PhotoMetricDistortion', hue_delta=36, swap_channels=False)


@TRANSFORMS.register_module()
class SegmentationTrainTransform(BaseTransform):
    """Resize by the short side, crop, flip, change colours and pad to the crop.

    Stands after the transform that loads the truth and before ``SemSegToInstances`` and ``PackDetInputs``.

    Args:
        train_min_size: lengths of the short side, one drawn at random; a single length v stands for v/2 to 2v in
            steps of 64 (see :func:`jittered_sides`), an empty list for the shorter side of the crop.
        train_max_size: the long side is at most this.
        train_crop_size: (height, width) of the crop; the image is padded to it, rounded up to a multiple of 32.
        category_max_ratio: see ``cat_max_ratio`` of :class:`RandomCrop`; needs a map of classes. 1.0 for data that has
            none, such as COCO's instances.
        horizontal_flip_prob: probability of a flip.
        colour: change brightness, contrast, saturation and hue.
        target_size: (width, height) that image and truth are resized to before everything else, or None.
        keep_empty: keep crops that show no instance; otherwise the data set takes another image. Semantic data has its
            instances only after the crop, so all crops are kept there.
        resize_backend: 'pillow' as the paper's code, or 'cv2', which is faster and does not average.

    Raises:
        ValueError: a size is impossible.
    """

    def __init__(self, train_min_size: int | Sequence[int] = 640, *, train_max_size: int = 2560,
                 train_crop_size: Sequence[int] = (640, 640), category_max_ratio: Number = 0.6,
                 horizontal_flip_prob: Number = 0.5, colour: bool = True, target_size: Sequence[int] | None = None,
                 keep_empty: bool = False, resize_backend: str = 'pillow'):
        height, width = train_crop_size
        listed = [train_min_size] if isinstance(train_min_size, int) else list(train_min_size)
        sides = jittered_sides(listed[0]) if len(listed) == 1 else listed or [min(height, width)]
        padded = tuple(math.ceil(side / STRIDE) * STRIDE for side in (width, height))
        self.steps = Compose([
            *_to_target(target_size, resize_backend),
            dict(type='ShortSideResize', sides=sides, max_size=train_max_size, strict=True, backend=resize_backend),
            dict(type='RandomCrop', crop_size=(width, height), cat_max_ratio=category_max_ratio, recompute_bbox=True,
                 allow_negative_crop=keep_empty),
            dict(type='RandomFlip', prob=horizontal_flip_prob),
            *([COLOURS] if colour else []),
            dict(type='Pad', size=padded, pad_val=dict(img=GREY, seg=VOID))])

    def transform(self, results: dict) -> dict | None:
        return self.steps(results)


@TRANSFORMS.register_module()
class SegmentationTestTransform(BaseTransform):
    """The resize of evaluation and inference.

    Args:
        test_min_size: length of the short side.
        test_max_size: the long side is at most this.
        target_size: (width, height) that image and truth are resized to before that, or None; it makes the images of
            a batch equal in size.
        resize_backend: as in :class:`SegmentationTrainTransform`.
    """

    def __init__(self, test_min_size: int = 640, *, test_max_size: int = 2560,
                 target_size: Sequence[int] | None = None, resize_backend: str = 'pillow'):
        self.steps = Compose([
            *_to_target(target_size, resize_backend),
            dict(type='ShortSideResize', sides=test_min_size, max_size=test_max_size, strict=True,
                 backend=resize_backend)])

    def transform(self, results: dict) -> dict | None:
        return self.steps(results)

    @staticmethod
    def resize_rule(test_min_size: int = 640, test_max_size: int = 2560, target_size: Sequence[int] | None = None,
                    **_) -> dict:
        """What an exported file says about its input: the bounds of the resize."""
        if target_size is not None:
            return dict(scale=short_side_size(*target_size, test_min_size, test_max_size, strict=True),
                        keep_ratio=False)
        return ShortSideResize.resize_rule(test_min_size, test_max_size)


def jittered_sides(side: int) -> list[int]:
    """Lengths from half of ``side`` to twice as much, 64 pixels apart: 640 gives 320, 384, ..., 1280."""
    return list(range(side // 2, 2 * side + 64, 64))


def _to_target(size: Sequence[int] | None, backend: str) -> list[dict]:
    return [] if size is None else [dict(type='Resize', scale=tuple(size), backend=backend)]
