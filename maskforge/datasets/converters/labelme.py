"""LabelMe's JSON files to COCO JSON."""
from collections.abc import Sequence
from pathlib import Path

from maskforge.formats.image_header import read_image_size
from maskforge.formats.labelme_json import LabelMeFile, LabelMeShape, read_labelme_json

from .coco_builder import CocoBuilder, Conversion


def convert(source: str | Path, output: str | Path, *, image_dir: str | Path | None = None,
            classes: Sequence[str] | None = None, first_id: int = 1) -> Conversion:
    """Convert a folder of LabelMe files.

    Shapes of one label and one ``group_id`` make up one object. Points and lines are left out and listed.

    Args:
        source: folder whose ``*.json`` files (also in folders below) are read.
        output: COCO JSON to write.
        image_dir: folder that ``file_name`` is relative to, and where images are looked up whose file gives no size;
            ``source`` by default.
        classes: category names in order; the sorted labels by default. Other labels are left out and listed.

    Raises:
        FileNotFoundError, ValueError: no files, broken JSON.
    """
    source = Path(source)
    paths = sorted(path for path in source.rglob('*.json') if path.resolve() != Path(output).resolve())
    if not paths:
        raise FileNotFoundError(f'{source} holds no LabelMe files (*.json).')
    builder = CocoBuilder(classes, first_id=first_id)
    for path in paths:
        file = read_labelme_json(path)
        file_name = (path.parent.relative_to(source) / file.image_name).as_posix()
        height, width = file.height, file.width
        if not height or not width:
            height, width = read_image_size(Path(image_dir or source) / file_name)
        builder.add_image(file_name, height=height, width=width)
        builder.skipped += file.problems
        for shapes in _group(file):
            builder.add_object(shapes[0].label, shapes[0].place, polygons=[shape.points.ravel() for shape in shapes])
    return builder.write(output)


def _group(file: LabelMeFile) -> list[list[LabelMeShape]]:
    """Shapes by object, in the order of their first shape."""
    groups: dict[tuple, list[LabelMeShape]] = {}
    for number, shape in enumerate(file.shapes):
        key = (shape.label, number, None) if shape.group is None else (shape.label, None, shape.group)
        groups.setdefault(key, []).append(shape)
    return list(groups.values())
