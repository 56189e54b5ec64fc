"""Pascal VOC's XML files to COCO JSON (boxes)."""
from collections.abc import Sequence
from pathlib import Path

from maskforge.formats.image_header import read_image_size
from maskforge.formats.json_file import require_file
from maskforge.formats.voc_xml import read_voc_xml

from .coco_builder import CocoBuilder, Conversion


def convert(source: str | Path, output: str | Path, *, split: str | None = None, classes: Sequence[str] | None = None,
            ann_subdir: str = 'Annotations', img_subdir: str = 'JPEGImages', one_based: bool = True,
            first_id: int = 1) -> Conversion:
    """Convert a VOC folder, or one split of it.

    Args:
        source: the folder that holds ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``.
        output: COCO JSON to write. ``file_name`` is relative to the image folder.
        split: name of a list in ``ImageSets/Main`` (``train``), or the path of a list; None takes every XML file.
        classes: category names in order. By default the sorted names of all XML files of the folder, so that the
            splits agree. Objects of other classes are left out.
        one_based: corners count from 1 with both ends included, as in VOC. Objects marked difficult become crowd
            regions, which neither training nor evaluation counts.

    Raises:
        FileNotFoundError, ValueError: missing files, broken XML.
    """
    annotations, images = Path(source) / ann_subdir, Path(source) / img_subdir
    if not annotations.is_dir():
        raise FileNotFoundError(f'folder {annotations} does not exist; source must hold {ann_subdir} and {img_subdir}.')
    files = {path.stem: read_voc_xml(path, one_based=one_based) for path in sorted(annotations.glob('*.xml'))}
    if classes is None:
        classes = sorted({obj.name for file in files.values() for obj in file.objects})
    builder = CocoBuilder(classes, first_id=first_id)
    for name in sorted(files) if split is None else _read_split(Path(source), split):
        if name not in files:
            raise FileNotFoundError(f'{annotations / name}.xml does not exist, but the list {split} names it.')
        file = files[name]
        file_name = file.file_name or f'{name}.jpg'
        height, width = file.height, file.width
        if height is None or width is None:
            height, width = read_image_size(images / file_name)
        builder.add_image(file_name, height=height, width=width)
        for number, obj in enumerate(file.objects):
            builder.add_object(obj.name, f'{name}.xml, object[{number}] ({obj.name})', box=obj.box, crowd=obj.difficult)
    return builder.write(output)


def _read_split(source: Path, split: str) -> list[str]:
    path = source / 'ImageSets' / 'Main' / f'{split}.txt'
    if not path.is_file():
        path = require_file(split if Path(split).suffix else path, 'list of images')
    return [line.split()[0] for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
