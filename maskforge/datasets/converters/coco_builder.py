"""Collects images and objects and writes them as one COCO file; every converter ends here."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskforge.formats import rle
from maskforge.formats.box_check import clip_box
from maskforge.formats.coco_json import write_coco_json


@dataclass
class Conversion:
    """What a converter did.

    Attributes:
        output: the file that was written.
        images, annotations: their numbers.
        classes: number of objects by class name, in the order of the category ids.
        skipped: one line for every record that was left out, with the reason.
        files: the files, where ``output`` is the folder of several.
    """

    output: Path
    images: int = 0
    annotations: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ', '.join(f'{name} {count}' for name, count in self.classes.items())
        where = f'{self.output} ({len(self.files)} files)' if self.files else self.output
        text = f'{where}: {self.images} images, {self.annotations} annotations ({counts})'
        return f'{text}; {len(self.skipped)} records left out' if self.skipped else text


class CocoBuilder:
    """Builds COCO records with ids that count from ``first_id``.

    Args:
        classes: names in the order of the category ids. None collects them and sorts them at the end.
        first_id: first id of images, annotations and categories: 1, or 0 as MMDetection's balloon tutorial has it.
    """

    def __init__(self, classes: Sequence[str] | None = None, *, first_id: int = 1) -> None:
        if first_id not in (0, 1):
            raise ValueError(f'first_id={first_id!r}: allowed are 0 and 1.')
        self.first_id = first_id
        self.classes = None if classes is None else list(classes)
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.skipped: list[str] = []

    def add_image(self, file_name: str, *, height: int, width: int) -> None:
        """Begin an image; objects that follow belong to it."""
        self.images.append(dict(id=self.first_id + len(self.images), file_name=file_name, height=height, width=width))

    def add_object(self, name: str, place: str, *, box: Sequence[float] | None = None,
                   polygons: Sequence[np.ndarray] = (), rle_code: dict | None = None, area: float | None = None,
                   crowd: bool = False) -> None:
        """Add an object to the newest image, or note in ``skipped`` why not.

        Args:
            place: where it comes from, for messages.
            box: xyxy in pixels; the extent of the polygons or of the RLE if left out. It is clipped to the image.
            polygons: flat x0, y0, x1, y1 ... in pixels. rle_code: instead of polygons.
            area: that of the mask, or of the box without a mask, if left out.
        """
        image = self.images[-1]
        if self.classes is not None and name not in self.classes:
            self.skipped.append(f'{place}: class {name!r} is not among {", ".join(self.classes)}')
            return
        if polygons and rle_code is None:
            rle_code = rle.from_polygons(polygons, image['height'], image['width'])
        if box is None:
            points = np.concatenate([np.asarray(polygon).reshape(-1, 2) for polygon in polygons]) if polygons else None
            box = rle.box(rle_code) if points is None else [*points.min(0).tolist(), *points.max(0).tolist()]
        clipped, problem = clip_box(box, height=image['height'], width=image['width'])
        if problem:
            self.skipped.append(f'{place}: {problem}')
            return
        x0, y0, x1, y1 = clipped
        if area is None:
            area = rle.area(rle_code) if rle_code is not None else (x1 - x0) * (y1 - y0)
        record = dict(id=self.first_id + len(self.annotations), image_id=image['id'], category_id=name,
                      bbox=[x0, y0, x1 - x0, y1 - y0], area=float(area), iscrowd=int(crowd))
        if polygons or rle_code is not None:
            record['segmentation'] = list(polygons) or rle_code
        self.annotations.append(record)

    def write(self, output: str | Path) -> Conversion:
        """Number the classes and write the file.

        Raises:
            ValueError: there is no image, or no class.
        """
        names = sorted({record['category_id'] for record in self.annotations}) if self.classes is None else self.classes
        if not self.images or not names:
            what = 'no image' if not self.images else 'no object of any class'
            raise ValueError(f'{what} was found, so {output} is not written'
                             + (f'; left out: {"; ".join(self.skipped[:3])}' if self.skipped else '') + '.')
        ids = {name: self.first_id + index for index, name in enumerate(names)}
        counts = Counter(record['category_id'] for record in self.annotations)
        annotations = [{**record, 'category_id': ids[record['category_id']]} for record in self.annotations]
        write_coco_json(output, images=self.images, annotations=annotations,
                        categories=[dict(id=identity, name=name) for name, identity in ids.items()])
        return Conversion(Path(output), len(self.images), len(annotations), {name: counts[name] for name in names},
                          self.skipped)
