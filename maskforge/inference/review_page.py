"""Pages that show pseudo-masks, the worst first, for a person to look at."""
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from maskforge.formats import rle
from maskforge.formats.json_stream import stream_json
from maskforge.inference.image_list import InputImage
from maskforge.visualization import ResultPage

PER_PAGE = 120
THUMBNAIL_SIDE = 300
_MARGIN = 0.35
_TINT = 0.2
_LISTED = 100
_SHOWN = ('teacher_agreement', 'box_agreement', 'box_fill', 'iou', 'score')
_MASK_COLOR, _BOX_COLOR, _EDGE_COLOR = (80, 255, 60), (255, 255, 255), (0, 0, 0)


def write_review(labels: str | Path, img_dir: str | Path, *, count: int | None = 500, per_page: int = PER_PAGE,
                 folder: str | Path | None = None) -> Path:
    """Write pages of cut-out boxes with the outlines of their masks, in rising order of quality.

    Args:
        labels: COCO JSON with a ``quality`` for each annotation, as ``label_boxes`` writes it.
        img_dir: folder of its images.
        count: how many boxes are shown; None shows all.
        per_page: boxes per page.
        folder: where the pages go; by default ``<labels>_review`` beside the file.

    Returns:
        The first page.

    Raises:
        ValueError: no annotation has a quality.
    """
    labels = Path(labels)
    folder = Path(folder) if folder else labels.with_name(f'{labels.stem}_review')
    overview = _Overview(labels)
    chosen = overview.worst(count)
    if not len(chosen):
        raise ValueError(f"{labels}: no annotation has a mask with a 'quality'; there is nothing to review.")
    records = overview.read(chosen)
    starts = range(0, len(records), per_page)
    names = ['index.html', *(f'page_{number + 1:04d}.html' for number in range(1, len(starts)))]
    for old in folder.glob('page_*.html'):
        old.unlink()
    for number, start in enumerate(starts):
        page = ResultPage(f'{labels.name}: worst masks first, {start + 1} to {min(start + per_page, len(records))} of '
                          f'{len(overview.quality)}')
        page.add_links({str(other + 1): name if other != number else None for other, name in enumerate(names)})
        if number == 0:
            overview.describe(page)
        for record, picture in _pictures(records[start:start + per_page], overview, Path(img_dir)):
            path = os.path.relpath(Path(img_dir) / overview.images[record['image_id']][0], folder)
            page.add_picture(picture, overview.caption(record), tags=record['flags'], link=quote(Path(path).as_posix()))
        page.write(folder / names[number])
    return folder / names[0]


class _Overview:
    """One pass over the labels: qualities, flags, images, categories; no record is kept."""

    def __init__(self, labels: Path) -> None:
        self.labels = labels
        self.images: dict[Any, tuple[str, int, int]] = {}
        self.categories: dict[Any, str] = {}
        self.flags: Counter[str] = Counter()
        self.unlabelled: list[dict[str, Any]] = []
        qualities, positions = [], []
        for key, value in stream_json(labels):
            if key == 'images':
                self.images = {r['id']: (r['file_name'], r['height'], r['width']) for r in value}
            elif key == 'categories':
                self.categories = {r['id']: r['name'] for r in value}
            elif key == 'annotations':
                for position, record in enumerate(value):
                    self.flags.update(record.get('flags', ()))
                    if record.get('quality') is not None:
                        qualities.append(record['quality'])
                        positions.append(position)
                    elif len(self.unlabelled) < _LISTED:
                        self.unlabelled.append({key: record.get(key) for key in ('id', 'image_id', 'flags')})
        self.quality, self.positions = np.array(qualities, np.float64), np.array(positions, np.int64)

    def worst(self, count: int | None) -> np.ndarray:
        """Positions of the worst records, worst first; equal ones in the file's order."""
        return self.positions[np.argsort(self.quality, kind='stable')][:count]

    def read(self, positions: np.ndarray) -> list[dict[str, Any]]:
        """The records at some positions, in the order of ``positions``."""
        rank = {position: number for number, position in enumerate(positions.tolist())}
        found: list[Any] = [None] * len(positions)
        for key, value in stream_json(self.labels):
            if key == 'annotations':
                for position, record in enumerate(value):
                    if position in rank:
                        found[rank[position]] = record
        return found

    def describe(self, page: ResultPage) -> None:
        """How good the masks are on the whole, and what has none."""
        levels = (0.1, 0.25, 0.5, 0.75)
        page.add_values({'boxes with a mask': len(self.quality), 'mean quality': float(self.quality.mean()),
                         **{f'quality below {level}': int((self.quality < level).sum()) for level in levels},
                         **{f'flag {name}': count for name, count in sorted(self.flags.items())}})
        page.add_note("Green: the mask; white: the given box. The quality is the model's own estimate. A caption leads "
                      'to the image.')
        if self.unlabelled:
            page.add_heading('Boxes without a mask' + (f' (the first {_LISTED})' if len(self.unlabelled) == _LISTED
                                                       else ''))
            page.add_table([(str(record['id']), self.images.get(record['image_id'], (str(record['image_id']),))[0],
                             ', '.join(record['flags'] or ())) for record in self.unlabelled],
                           header=('annotation', 'image', 'flags'))
            page.add_heading('Masks')

    def caption(self, record: dict[str, Any]) -> str:
        """Quality, class, ids, flags."""
        name = self.categories.get(record['category_id'], f'category {record["category_id"]}')
        parts = [f'{key.split("_")[0]} {record[key]:.2f}' for key in _SHOWN if isinstance(record.get(key), float)]
        return (f'{record["quality"]:.3f} {name}' + (f' ({", ".join(parts)})' if parts else '') +
                f' · annotation {record["id"]} · {self.images[record["image_id"]][0]}' +
                ''.join(f' · {flag}' for flag in record['flags']))


def _pictures(records: Sequence[dict], overview: _Overview, img_dir: Path) -> Iterator[tuple[dict, np.ndarray]]:
    """Thumbnails in the order of the records; each image is decoded once a page."""
    by_image: dict[Any, list[int]] = {}
    for index, record in enumerate(records):
        by_image.setdefault(record['image_id'], []).append(index)
    drawn: dict[int, np.ndarray] = {}
    for identity, indices in by_image.items():
        path = img_dir / overview.images[identity][0]
        pixels = InputImage(path.name, path).read()
        drawn.update({index: draw_thumbnail(pixels, records[index]['bbox'], records[index]['segmentation'])
                      for index in indices})
    for index, record in enumerate(records):
        yield record, drawn[index]


def draw_thumbnail(image: np.ndarray, box: Sequence[float], segmentation: dict, *,
                   side: int = THUMBNAIL_SIDE) -> np.ndarray:
    """Cut out a box with some surroundings and draw the mask's outline and the box.

    Args:
        image: (H, W, 3) uint8 BGR. box: x, y, width, height in pixels. segmentation: RLE at the image's size.
        side: longer side of the result in pixels.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    height, width = image.shape[:2]
    margin = max(_MARGIN * max(box[2], box[3]), 4)
    x0, y0 = max(int(box[0] - margin), 0), max(int(box[1] - margin), 0)
    x1, y1 = min(int(box[0] + box[2] + margin) + 1, width), min(int(box[1] + box[3] + margin) + 1, height)
    factor = side / max(x1 - x0, y1 - y0)
    size = max(round((x1 - x0) * factor), 1), max(round((y1 - y0) * factor), 1)
    canvas = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    mask = np.ascontiguousarray(rle.decode(segmentation)[y0:y1, x0:x1], np.uint8)
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    # a tint tells which side of an outline is the mask
    canvas[mask > 0] = (canvas[mask > 0] * (1 - _TINT) + np.array(_MASK_COLOR) * _TINT).astype(np.uint8)
    corners = [(round((x - x0) * factor), round((y - y0) * factor))
               for x, y in ((box[0], box[1]), (box[0] + box[2], box[1] + box[3]))]
    cv2.rectangle(canvas, *corners, _BOX_COLOR, 1)
    cv2.drawContours(canvas, outlines, -1, _EDGE_COLOR, 4)
    cv2.drawContours(canvas, outlines, -1, _MASK_COLOR, 2)
    return canvas
