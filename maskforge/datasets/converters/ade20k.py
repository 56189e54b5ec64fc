"""ADE20K's folders of images and one-channel masks to a JSONL list and a label map."""
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from maskforge.formats.class_list import read_class_list
from maskforge.formats.image_header import list_images, read_image_size
from maskforge.formats.json_file import write_json
from maskforge.formats.segmentation_jsonl import write_segmentation_jsonl
from maskforge.formats.text_file import read_text_file

from .coco_builder import Conversion

#: the list of classes in ADE20K's own folder: tab-separated Idx, Ratio, Train, Val, Stuff, Name under a headline
CLASS_TABLE = 'objectInfo150.txt'
#: the value of pixels without a class, for those who mark them at the other end
IGNORED = 255


def convert(source: str | Path, output: str | Path, *, split: str | None = 'training', img_subdir: str = 'images',
            mask_subdir: str = 'annotations', mask_suffix: str = '.png',
            classes: Sequence[str] | str | Path | None = None, label_map: str | Path | None = None) -> Conversion:
    """Pair images and masks of a folder in ADE20K's layout, and look at every mask.

    Writes one ``{"img": ..., "segm": ...}`` a line, paths relative to ``source``, for ``SemanticJsonlDataset``. In the
    masks 0 and 255 are ignored and k is the k-th class. Images without a usable mask are left out and listed.

    Args:
        source: the folder that holds the image and the mask folder.
        output: JSONL file to write.
        split: folder in both of them; an empty one takes all images.
        img_subdir, mask_subdir: names of the two folders.
        mask_suffix: masks are named as the images, with this ending.
        classes: names in order, or a text file with one name a line; by default those of ``objectInfo150.txt`` in
            ``source``, with things and stuff.
        label_map: JSON file of the classes to write, too.

    Raises:
        FileNotFoundError: a folder, or the list of classes, does not exist; or there are no images.
        ValueError: the list of classes cannot be read, or no image has a usable mask.
    """
    root, split = Path(source), split or ''
    entries = _entries(classes, root)
    images = list_images(root / img_subdir / split)
    masks = root / mask_subdir / split
    if not masks.is_dir():
        raise FileNotFoundError(f'folder of masks {masks} does not exist; pass mask_subdir or split.')
    pairs, skipped, seen = [], [], Counter()
    for image in images:
        mask = masks / image.relative_to(root / img_subdir / split).with_suffix(mask_suffix)
        problem, values = _look_at(image, mask, len(entries))
        if problem:
            skipped.append(f'{image.relative_to(root)}: {problem}')
            continue
        seen.update(values)
        pairs.append((image.relative_to(root).as_posix(), mask.relative_to(root).as_posix()))
    if not pairs:
        raise ValueError(f'no image below {root / img_subdir / split} has a usable mask, so {output} is not written; '
                         f'{skipped[0]}.')
    write_segmentation_jsonl(output, pairs)
    if label_map is not None:
        write_json([dict(id=number, **entry) for number, entry in enumerate(entries, 1)], label_map)
    counts = {entry['name']: seen[number] for number, entry in enumerate(entries, 1)}
    return Conversion(Path(output), len(pairs), len(pairs), counts, skipped)


def _entries(classes: Sequence[str] | str | Path | None, root: Path) -> list[dict]:
    if not classes:
        return _read_class_table(root / CLASS_TABLE)
    names = read_class_list(classes) if isinstance(classes, str | Path) else classes
    return [dict(name=name, isthing=1) for name in names]


def _look_at(image: Path, mask: Path, num_classes: int) -> tuple[str, list[int]]:
    """What is wrong with a pair, or '' and the classes in it (from 1)."""
    if not mask.is_file():
        return f'{mask} does not exist', []
    values = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2:
        return f'{mask} is not an image with one channel', []
    size = read_image_size(image, upright=True)
    if values.shape != size:
        return f'{mask} is {values.shape[1]} x {values.shape[0]} pixels, the image {size[1]} x {size[0]}', []
    found = [value for value in np.unique(values).tolist() if value not in (0, IGNORED)]
    if found and found[-1] > num_classes:
        return f'{mask} has the value {found[-1]}, there are {num_classes} classes', []
    return '', found


def _read_class_table(path: Path) -> list[dict]:
    """Names and things of ADE20K's own list; a name is the first synonym, or all of them where that is taken."""
    lines = read_text_file(path, 'list of classes (or pass classes)').splitlines()
    rows = [[cell.strip() for cell in line.split('\t')] for line in lines[1:] if line.strip()]
    wrong = [row for number, row in enumerate(rows, 1) if len(row) != 6 or row[0] != str(number) or not row[5]]
    if wrong or not rows:
        raise ValueError(f'{path} needs tab-separated lines of Idx, Ratio, Train, Val, Stuff and Name after its '
                         f'headline, Idx counting from 1; got {wrong[0] if wrong else "no line"}.')
    first = [row[5].split(',')[0] for row in rows]
    return [dict(name=name if first.count(name) == 1 else row[5], isthing=int(row[4] != '1'))
            for name, row in zip(first, rows)]
