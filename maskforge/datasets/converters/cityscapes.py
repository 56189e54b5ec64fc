"""Cityscapes' gtFine annotations to COCO instances."""
import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from maskforge.formats import rle
from maskforge.formats.json_file import read_json_dict

from .coco_builder import CocoBuilder, Conversion

#: Cityscapes' label ids of the classes that have instances
INSTANCE_LABELS = {24: 'person', 25: 'rider', 26: 'car', 27: 'truck', 28: 'bus', 31: 'train', 32: 'motorcycle',
                   33: 'bicycle'}
IMAGE_SUFFIX = '_leftImg8bit.png'
#: ids below this are regions without single instances; an instance has label id x 1000 + number
FIRST_INSTANCE = 1000


def convert(source: str | Path, output: str | Path, *, split: str = 'train', annotation: str = 'instance_ids',
            first_id: int = 1) -> Conversion:
    """Convert one split.

    Groups (label id without a number, or labels such as ``cargroup``) become crowd regions.

    Args:
        source: the folder that holds ``leftImg8bit`` and ``gtFine``. ``file_name`` is relative to
            ``leftImg8bit/<split>``.
        output: COCO JSON to write.
        annotation: 'instance_ids' reads ``*_gtFine_instanceIds.png``; 'polygons' paints ``*_gtFine_polygons.json``
            in the file's order, later objects over earlier ones.

    Raises:
        FileNotFoundError, ValueError: missing folders or files, broken JSON or PNG, unknown settings.
    """
    readers = {'instance_ids': ('_gtFine_instanceIds.png', _read_instance_ids),
               'polygons': ('_gtFine_polygons.json', _paint_polygons)}
    if annotation not in readers:
        raise ValueError(f'annotation={annotation!r}: allowed are {", ".join(readers)}.')
    suffix, read = readers[annotation]
    images, truths = Path(source) / 'leftImg8bit' / split, Path(source) / 'gtFine' / split
    paths = sorted(images.glob(f'*/*{IMAGE_SUFFIX}'))
    if not paths:
        raise FileNotFoundError(f'no images {images}/<city>/*{IMAGE_SUFFIX}.')
    builder = CocoBuilder(list(INSTANCE_LABELS.values()), first_id=first_id)
    for path in paths:
        name = path.relative_to(images).as_posix()
        truth = truths / (name.removesuffix(IMAGE_SUFFIX) + suffix)
        height, width, objects = read(truth)
        builder.add_image(name, height=height, width=width)
        for label, mask, crowd, place in objects:
            builder.add_object(label, place, rle_code=rle.encode(mask), crowd=crowd)
    return builder.write(output)


Objects = Iterator[tuple[str, np.ndarray, bool, str]]


def _read_instance_ids(path: Path) -> tuple[int, int, Objects]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; make it with Cityscapes' scripts, "
                                "or use annotation='polygons'.")
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2:
        raise ValueError(f'{path} is not a PNG with one channel of instance ids.')

    def objects() -> Objects:
        for identity in np.unique(ids).tolist():
            crowd = identity < FIRST_INSTANCE
            name = INSTANCE_LABELS.get(identity if crowd else identity // FIRST_INSTANCE)
            if name is not None:
                yield name, ids == identity, crowd, f'{path.name}, id {identity}'

    return *ids.shape, objects()


def _paint_polygons(path: Path) -> tuple[int, int, Objects]:
    data = read_json_dict(path)
    missing = [key for key in ('imgHeight', 'imgWidth', 'objects') if key not in data]
    if missing:
        raise ValueError(f"{path} has no '{missing[0]}' (its keys: {', '.join(data)}).")
    height, width = data['imgHeight'], data['imgWidth']
    owners = np.full((height, width), -1, np.int32)
    labels = []
    for number, item in enumerate(data['objects']):
        labels.append(item['label'])
        if item.get('deleted'):
            continue
        cv2.fillPoly(owners, [np.array(item['polygon'], np.int32)], number)

    def objects() -> Objects:
        hidden = 0
        for number, label in enumerate(labels):
            name = label.removesuffix('group')
            mask = owners == number
            if name in INSTANCE_LABELS.values():
                hidden += not mask.any()
                if mask.any():
                    yield name, mask, label.endswith('group'), f'{path.name}, object {number}'
        if hidden:
            print_log(f'{path}: {hidden} objects are wholly hidden and left out.', 'current', logging.INFO)

    return height, width, objects()
