"""YOLO's text files (boxes and polygons) to COCO JSON."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskforge.formats.image_header import list_images, read_image_size
from maskforge.formats.yolo_txt import YoloObject, read_yolo_names, read_yolo_txt

from .coco_builder import CocoBuilder, Conversion


def convert(source: str | Path, output: str | Path, *, label_dir: str | Path | None = None,
            classes: Sequence[str] | str | Path | None = None, first_id: int = 1) -> Conversion:
    """Convert a folder of images with YOLO label files.

    Args:
        source: folder of images (also in folders below).
        output: COCO JSON to write; ``file_name`` is relative to ``source``.
        label_dir: folder of the text files, in the same tree as the images; by default the last ``images`` in the
            path of ``source`` is replaced by ``labels``. An image without a text file has no objects.
        classes: names in order, or the path of ``data.yaml`` or of a text file of names; by default ``data.yaml`` or
            ``classes.txt`` is looked for in ``source``, the label folder and the folders above.

    Raises:
        FileNotFoundError, ValueError: no images or names, or a line that cannot be read.
    """
    source = Path(source)
    labels = _label_folder(source) if label_dir is None else Path(label_dir)
    if not labels.is_dir():
        raise FileNotFoundError(f'folder of label files {labels} does not exist; pass label_dir.')
    names = _class_names(classes, source, labels)
    builder = CocoBuilder(names, first_id=first_id)
    for path in list_images(source):
        relative = path.relative_to(source)
        height, width = read_image_size(path)
        builder.add_image(relative.as_posix(), height=height, width=width)
        text_file = labels / relative.with_suffix('.txt')
        for obj in read_yolo_txt(text_file) if text_file.is_file() else ():
            _add(builder, obj, names, np.array([width, height]))
    return builder.write(output)


def _add(builder: CocoBuilder, obj: YoloObject, names: Sequence[str], scale: np.ndarray) -> None:
    if obj.label >= len(names):
        raise ValueError(f'{obj.place}: class {obj.label}, but there are {len(names)} names (0 to {len(names) - 1}).')
    points = obj.points * scale
    if obj.is_box:
        builder.add_object(names[obj.label], obj.place, box=[*points.min(0).tolist(), *points.max(0).tolist()])
    else:
        builder.add_object(names[obj.label], obj.place, polygons=[points.ravel()])


def _label_folder(source: Path) -> Path:
    parts = list(source.parts)
    if 'images' not in parts:
        raise FileNotFoundError(f"{source} has no folder 'images' in its path to replace by 'labels'; pass label_dir.")
    parts[len(parts) - 1 - parts[::-1].index('images')] = 'labels'
    return Path(*parts)


def _class_names(classes: Sequence[str] | str | Path | None, source: Path, labels: Path) -> list[str]:
    if isinstance(classes, (str, Path)):
        return read_yolo_names(classes)
    if classes is not None:
        return list(classes)
    for folder in dict.fromkeys([source, labels, *source.parents[:2], *labels.parents[:2]]):
        for name in ('data.yaml', 'classes.txt'):
            if (folder / name).is_file():
                return read_yolo_names(folder / name)
    raise FileNotFoundError(f'no data.yaml or classes.txt at {source}, {labels} or above; pass classes.')
