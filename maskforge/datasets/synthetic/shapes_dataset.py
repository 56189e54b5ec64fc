"""The drawn data set without files: every record is painted when it is asked for."""
from typing import Any

import numpy as np

from maskforge.formats import rle
from maskforge.registry import DATASETS

from ..base_det_dataset import BaseDetDataset
from ..class_names import match_classes
from .scene import Picture, Scene
from .shapes import OUTLINES


@DATASETS.register_module()
class SyntheticShapesDataset(BaseDetDataset):
    """Shapes on a patterned background with exact boxes and masks; record ``i`` depends on ``seed`` and ``i`` alone.

    Records carry the picture in ``img`` (BGR), so the pipeline begins with ``LoadAnnotations``, without
    ``LoadImageFromFile``. Boxes are those of the visible pixels; masks are RLEs of them.

    Args:
        num_images: length of the data set.
        size: side of the square pictures, pixels, at least 32.
        seed: another seed, other pictures (use two for training and validation).
        max_objects: most shapes in a picture; there is always at least one.
        metainfo: ``classes`` selects shapes from circle, square, triangle, star, cross.
    """

    METAINFO = dict(classes=tuple(OUTLINES))

    def __init__(self, *, num_images: int = 200, size: int = 128, seed: int = 0, max_objects: int = 6,
                 **kwargs: Any) -> None:
        check_scene_settings(num_images=num_images, size=size, max_objects=max_objects)
        self.num_images = num_images
        self.size = size
        self.seed = seed
        self.max_objects = max_objects
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List the records; nothing is painted yet."""
        match_classes(self._metainfo['classes'], tuple(OUTLINES), 'the drawn data set')
        self._metainfo['category_ids'] = tuple(range(1, len(self._metainfo['classes']) + 1))
        return [dict(img_path=f'shapes_{self.seed}_{number:06d}.png', img_id=number, height=self.size, width=self.size,
                     number=number) for number in range(self.num_images)]

    def get_data_info(self, idx: int) -> dict:
        """The record with its picture, ``img_shape``, ``ori_shape`` and ``instances``."""
        record = super().get_data_info(idx)
        scene = draw_scene(self.seed, record.pop('number'), size=self.size, classes=self._metainfo['classes'],
                           max_objects=self.max_objects)
        picture = scene.draw()
        shape = (self.size, self.size)
        record.update(img=picture.image, img_shape=shape, ori_shape=shape, instances=instances_of(picture))
        return record

    def _filter(self, records: list[dict]) -> list[dict]:
        """Every picture has an object; only ``min_size`` can apply."""
        if self.size < self.filter_cfg.get('min_size', 0):
            raise ValueError(f'filter_cfg.min_size={self.filter_cfg["min_size"]} leaves out all pictures of '
                             f'size={self.size}.')
        return records


def draw_scene(seed: int, number: int, *, size: int, classes: tuple[str, ...], max_objects: int) -> Scene:
    """The ``number``-th scene of a seed."""
    return Scene(np.random.default_rng((seed, number)), size=size, classes=classes, max_objects=max_objects)


def instances_of(picture: Picture) -> list[dict]:
    """Instances in the data sets' contract: box and RLE of the visible pixels."""
    instances = []
    for index, label in enumerate(picture.labels.tolist()):
        code = rle.encode(picture.mask(index))
        instances.append(dict(bbox=rle.box(code), bbox_label=label, ignore_flag=0, mask=code))
    return instances


def check_scene_settings(*, num_images: int, size: int, max_objects: int) -> None:
    """Refuse settings that cannot be drawn.

    Raises:
        ValueError: one of them is out of range.
    """
    for name, value, least in (('num_images', num_images, 1), ('size', size, 32), ('max_objects', max_objects, 1)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f'{name}={value!r}: an integer of at least {least} is needed.')
    if max_objects > 200:
        raise ValueError(f'max_objects={max_objects}: at most 200 shapes fit a picture.')
