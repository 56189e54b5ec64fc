"""Transforms made of transforms; an error inside names the transform and the image."""
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from mmcv import transforms as mmcv_transforms

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .ground_truth import Number
from .shared_draw import shared_draw

Transform = Mapping | Callable[[dict], dict | None]
# error types that are rebuilt from a message alone; others become RuntimeError
KEPT_TYPES = (ValueError, KeyError, TypeError, IndexError, FileNotFoundError, OSError, AssertionError)


def build_transform(transform) -> Callable[[dict], dict | None]:
    """Build a config, or return what is callable already."""
    if isinstance(transform, Mapping):
        return TRANSFORMS.build(transform)
    if callable(transform):
        return transform
    raise TypeError(f'a transform is a dict with the key type, or callable; got {type(transform).__name__}: '
                    f'{str(transform)[:80]}')


@TRANSFORMS.register_module()
class Compose(mmcv_transforms.Compose):
    """Apply transforms one after the other; None from one of them ends the sample.

    An exception in a transform is raised again with the names of the transform and of the image; its type is kept
    where that is a common built-in one.

    Args:
        transforms: configs or callables; one of them, or a list.
    """

    def __init__(self, transforms: Transform | Sequence):
        listed = [transforms] if isinstance(transforms, Mapping) or callable(transforms) else transforms
        self.transforms = [build_transform(item) for item in listed]

    def transform(self, results: dict) -> dict | None:
        for transform in self.transforms:
            where = results.get('img_path'), results.get('img_id')
            try:
                results = transform(results)
            except Exception as error:
                raise _named(error, type(transform).__name__, *where) from error
            if results is None:
                return None
        return results


def _named(error: Exception, transform: str, path: str | None, img_id) -> Exception:
    if getattr(error, 'names_transform', False):
        return error
    kind = next((kept for kept in KEPT_TYPES if type(error) is kept), RuntimeError)
    message = error.args[0] if kind is KeyError and error.args else error
    image = path if path is not None else 'an image without img_path'
    image += f' (img_id {img_id})' if img_id is not None else ''
    named = kind(f'{transform}, on {image}: {message}')
    named.names_transform = True
    return named


@TRANSFORMS.register_module()
class RandomApply(mmcv_transforms.RandomApply):
    """Apply transforms, all or none, with probability ``prob``.

    Args:
        transforms: configs or callables.
        prob: in [0, 1].
    """

    def __init__(self, transforms: Transform | Sequence[Transform], prob: Number = 0.5):
        self.prob, self.transforms = prob, Compose(transforms)

    @shared_draw
    def random_apply(self) -> bool:
        """Draw whether to apply."""
        return bool(sample_rng().random() < self.prob)


@TRANSFORMS.register_module()
class RandomChoice(mmcv_transforms.RandomChoice):
    """Apply one of several lists of transforms.

    Args:
        transforms: a list of lists of transforms (a single transform may stand for a list).
        prob: the probability of each list; None: all the same.

    Raises:
        ValueError: ``prob`` has another length than ``transforms`` or does not add up to 1.
    """

    def __init__(self, transforms: Sequence, prob: Sequence[Number] | None = None):
        if prob is not None and (len(prob) != len(transforms) or abs(sum(prob) - 1) > 1e-6):
            raise ValueError(f'RandomChoice: prob must have one entry per choice ({len(transforms)}) and add up to 1, '
                             f'got {list(prob)}')
        self.prob, self.transforms = prob, [Compose(item) for item in transforms]

    @shared_draw
    def random_pipeline_index(self) -> int:
        """Draw the list to apply."""
        return int(sample_rng().choice(np.arange(len(self.transforms)), p=self.prob))


@TRANSFORMS.register_module()
class TestTimeAug(mmcv_transforms.TestTimeAug):
    """Apply every combination of the listed transforms; each entry of the result is a list, one item a combination.

    Args:
        transforms: a list of lists; one transform of each list is in a combination, in this order.
    """

    __test__ = False  # not a test case, whatever its name begins with

    def __init__(self, transforms: Sequence[Sequence[Transform]]):
        built = [[build_transform(item) for item in choices] for choices in transforms]
        self.subroutines = [Compose(list(chain)) for chain in product(*built)]
