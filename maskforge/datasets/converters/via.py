"""VIA polygons (the balloon data of MMDetection's tutorial) to COCO JSON."""
from collections.abc import Sequence
from pathlib import Path

from maskforge.formats.image_header import read_image_size
from maskforge.formats.via_json import ViaRegion, read_via_json

from .coco_builder import CocoBuilder, Conversion


def convert(source: str | Path, output: str | Path, *, image_dir: str | Path | None = None,
            classes: Sequence[str] = ('balloon',), attribute: str | None = None, first_id: int = 1,
            half_pixel: bool = True, area: str = 'box') -> Conversion:
    """Convert one VIA file.

    The conventions are those of MMDetection's balloon tutorial: half a pixel is added to polygon points (they were
    clicked on pixels), boxes span the clicked points, ``area`` is that of the box; ``first_id=0`` numbers as it does.

    Args:
        source: VIA's JSON.
        output: COCO JSON to write.
        image_dir: folder of the images, whose sizes are read; the folder of ``source`` by default.
        classes: category names. One name is given to every region unless ``attribute`` is set.
        attribute: the region attribute that holds the class name.
        half_pixel: add 0.5 to the points of polygons. area: 'box' or 'mask'.

    Raises:
        FileNotFoundError, ValueError: missing files, broken JSON, unknown settings.
    """
    if area not in ('box', 'mask'):
        raise ValueError(f"area={area!r}: allowed are 'box' and 'mask'.")
    if attribute is None and len(classes) != 1:
        raise ValueError(f'{len(classes)} classes need attribute=..., the region attribute that holds the class name.')
    folder = Path(source).parent if image_dir is None else Path(image_dir)
    builder = CocoBuilder(classes, first_id=first_id)
    for image in read_via_json(source):
        height, width = read_image_size(folder / image.file_name)
        builder.add_image(image.file_name, height=height, width=width)
        builder.skipped += image.problems
        for region in image.regions:
            _add_region(builder, region, classes[0] if attribute is None else _class_of(region, attribute, source),
                        shift=0.5 if half_pixel else 0.0, box_area=area == 'box')
    return builder.write(output)


def _add_region(builder: CocoBuilder, region: ViaRegion, name: str, *, shift: float, box_area: bool) -> None:
    low, high = region.points.min(0), region.points.max(0)
    builder.add_object(name, region.place, box=[*low.tolist(), *high.tolist()],
                       polygons=[(region.points + shift).ravel()],
                       area=float((high - low).prod()) if box_area else None)


def _class_of(region: ViaRegion, attribute: str, source: str | Path) -> str:
    """The class name: a text, or the one option that is ticked in a check box."""
    value = region.attributes.get(attribute)
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on]
        value = ticked[0] if len(ticked) == 1 else None
    if not isinstance(value, str) or not value:
        raise ValueError(f'{source}: {region.place} has no class under the attribute {attribute!r} (its attributes: '
                         f'{region.attributes}).')
    return value
