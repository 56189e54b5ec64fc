"""Everything that is wrong with a COCO file, record by record."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskforge.formats import rle
from maskforge.formats.coco_json import CocoJson
from maskforge.formats.defect import Defect
from maskforge.formats.image_header import read_image_size
from maskforge.formats.json_file import read_json_dict

#: box and mask may differ by this many pixels before it is mentioned
BOX_TOLERANCE = 2.0


def check_coco(path: str | Path, *, image_dir: str | Path | None = None) -> list[Defect]:
    """List every defect of a COCO instance file; an empty list means that nothing was found.

    Fatal: contradictory ids, missing keys. Errors: records that training refuses, missing or unreadable images, image
    sizes unlike the record. Warnings: boxes without extent or sticking out, boxes unlike their masks, empty masks,
    repeated annotations, unused categories.

    Args:
        image_dir: folder of the images; their headers are read where it is given.

    Raises:
        FileNotFoundError, ValueError: the file is missing, no JSON, or lacks one of its three lists.
    """
    coco = CocoJson.from_dict(read_json_dict(path), path=str(path), on_defect='list')
    defects = list(coco.defects)
    defects += _check_masks(coco)
    defects += _find_repeated(coco)
    used = set(coco.annotations.category_rows.tolist())
    defects += [Defect(f"category '{name}'", 'has no annotation', 'warning')
                for row, name in enumerate(coco.category_names) if row not in used]
    if image_dir is not None:
        defects += _check_images(coco, Path(image_dir))
    return defects


def _name(coco: CocoJson, row: int) -> str:
    return f'annotation {coco.annotations.ids[row]} (image {coco.images.names[coco.annotations.image_rows[row]]})'


def _check_masks(coco: CocoJson) -> Iterator[Defect]:
    for row in range(len(coco.annotations.ids)):
        segmentation = coco.annotations.segmentations[row]
        if segmentation is None:
            continue
        height, width = coco.images.sizes[coco.annotations.image_rows[row]].tolist()
        code = rle.from_polygons(segmentation, height, width) if isinstance(segmentation, list) else segmentation
        if rle.area(code) == 0:
            yield Defect(_name(coco, row), 'mask has no pixel', 'warning')
            continue
        x, y, box_width, box_height = coco.annotations.boxes[row].tolist()
        box = np.clip([x, y, x + box_width, y + box_height], 0, [width, height, width, height])
        around = rle.box(code)
        if np.abs(box - around).max() > BOX_TOLERANCE:
            yield Defect(_name(coco, row), f'box x0, y0, x1, y1 = {box.round(1).tolist()}, but its mask spans {around}',
                         'warning')


def _find_repeated(coco: CocoJson) -> Iterator[Defect]:
    table = coco.annotations
    keys = np.column_stack([table.image_rows, table.category_rows, table.boxes]) if len(table.ids) else np.zeros((0, 6))
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    for row, original in enumerate(first[inverse.ravel()].tolist()):
        if row != original:
            yield Defect(_name(coco, row), f'repeats class and box of annotation {table.ids[original]}', 'warning')


def _check_images(coco: CocoJson, folder: Path) -> Iterator[Defect]:
    for row in range(len(coco)):
        record = coco.image(row)
        try:
            size = read_image_size(folder / record['file_name'])
        except (FileNotFoundError, ValueError) as error:
            yield Defect(f'image {record["id"]}', str(error))
            continue
        if size != (record['height'], record['width']):
            yield Defect(f'image {record["id"]} ({record["file_name"]})',
                         f'is {size[1]} x {size[0]} pixels, but its record says {record["width"]} x {record["height"]}')
