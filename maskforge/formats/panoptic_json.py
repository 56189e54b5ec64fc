"""COCO's panoptic annotations: a JSON file of segments beside a folder of PNGs whose colours are segment ids."""
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskforge.structures import PanopticSegmentation

from .coco_parse import Images, parse_categories, parse_images
from .defect import Defect, settle
from .json_file import garbage_collection_paused, read_json_dict, write_json
from .label_map import look_problem
from .panoptic_png import read_panoptic_png


@dataclass(frozen=True)
class Segments:
    """The segments of one image.

    Attributes:
        ids: (N,) int64, as in the PNG; at least 1, because 0 is void.
        category_rows: (N,) int64 rows of the file's categories.
        crowd: (N,) bool.
    """

    ids: np.ndarray
    category_rows: np.ndarray
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class PanopticJson:
    """A panoptic annotation file, read once into columns.

    Attributes:
        images: columns of the ``images`` list.
        categories: the file's records, by rising id.
        category_ids, category_names: of ``categories``.
        is_thing: (K,) bool; categories without ``isthing`` are things.
        png_names: file name of every image's PNG, '' where the image has no annotation.
    """

    def __init__(self, path: str, images: Images, categories: list[dict], png_names: list[str],
                 segments: list[Segments]) -> None:
        self.path = path
        self.images = images
        self.categories = sorted(categories, key=lambda record: record['id'])
        self.category_ids = np.array([record['id'] for record in self.categories], np.int64)
        self.category_names = [record['name'] for record in self.categories]
        self.is_thing = np.array([bool(record.get('isthing', 1)) for record in self.categories], bool)
        self.png_names = png_names
        self._segments = segments

    @classmethod
    def load(cls, path: str | Path, *, on_defect: str = 'raise', backend_args: dict | None = None) -> 'PanopticJson':
        """Read a file.

        Args:
            on_defect: 'raise' or 'skip' for images whose annotation cannot be used.

        Raises:
            FileNotFoundError, ValueError: missing, cut off or contradictory file, with the record: a segment id below
                1 or used twice in an image, an unknown category, an annotation of an image that is not listed.
        """
        return cls.from_dict(read_json_dict(path, backend_args=backend_args), path=str(path), on_defect=on_defect)

    @classmethod
    def from_dict(cls, data: dict, *, path: str = 'panoptic data', on_defect: str = 'raise') -> 'PanopticJson':
        """Like :meth:`load` for data that is already in memory (it is not kept)."""
        _check_top_level(data, path)
        defects: list[Defect] = []
        images = parse_images(data['images'], defects)
        category_ids, _ = parse_categories(data['categories'], defects)
        defects += [Defect(f'categories[{position}]', problem, 'fatal')
                    for position, record in enumerate(data['categories'])
                    if isinstance(record, dict) and (problem := look_problem(record))]
        defects += [Defect(f'category {identity}', 'has an id below 1, which stands for void', 'fatal')
                    for identity in category_ids.tolist() if identity < 1]
        with garbage_collection_paused():
            names, segments = _parse_annotations(data['annotations'], images, category_ids, defects)
        settle(path, defects, on_defect)
        return cls(path, images, data['categories'], names, segments)

    def __len__(self) -> int:
        return len(self.images.names)

    def segments_of(self, row: int) -> Segments:
        """The segments of the image in this row, in the file's order."""
        return self._segments[row]


def read_segments(path: str | Path, segments: Segments, *, size: tuple[int, int]) -> np.ndarray:
    """Return (H, W) int32: 0 for void, k for the k-th of ``segments`` (from 1).

    Raises:
        FileNotFoundError, ValueError: no such PNG; not of ``size`` (height, width); ids that the JSON does not list.
            Listed segments without a pixel are allowed: shrinking a data set loses small ones.
    """
    ids = read_panoptic_png(path)
    if ids.shape != tuple(size):
        hint = ('; where EXIF data turn the photo, JSON file, PNG and image must be turned alike: the image is, unless '
                "it is read with color_type='color_ignore_orientation'" if ids.shape == tuple(size)[::-1] else '')
        raise ValueError(f'{path} is {ids.shape[1]} x {ids.shape[0]} pixels, its image {size[1]} x {size[0]}{hint}.')
    flat = ids.ravel()
    # rows of pixels of one segment stand for them: a hundredth of the pixels, or less
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    of_run = flat[starts]
    found = np.unique(of_run)
    unknown = np.setdiff1d(found[found > 0], segments.ids)
    if len(unknown):
        raise ValueError(f'{path} holds the segment id {unknown[0]}{_and_more(unknown)}, which segments_info of the '
                         f'JSON file does not list; list it there, or paint it in 0 (void).')
    order = np.argsort(segments.ids)
    table = np.concatenate([[0], order + 1]).astype(np.int32)
    rows = table[np.searchsorted(segments.ids[order], of_run, side='right') * (of_run > 0)]
    return np.repeat(rows, np.diff(starts, append=len(flat))).reshape(ids.shape)


def segment_records(found: PanopticSegmentation, category_ids: np.ndarray, is_thing: np.ndarray) -> list[dict]:
    """Return the ``segments_info`` of a prediction: ids 1 .. N as in its map; segments without a pixel are left out.

    Args:
        category_ids, is_thing: of each of the N segments.
    """
    areas = found.areas()
    records = [dict(id=k + 1, category_id=int(category_ids[k]), area=int(areas[k]), isthing=int(is_thing[k]))
               for k in range(len(found)) if areas[k]]
    if found.scores is not None:
        for record in records:
            record['score'] = round(float(found.scores[record['id'] - 1]), 6)
    return records


def write_panoptic_json(path: str | Path, *, images: list[dict], annotations: list[dict],
                        categories: list[dict]) -> None:
    """Write a file that the official evaluation reads."""
    write_json(dict(images=images, annotations=annotations, categories=categories), path)


def _check_top_level(data: dict, path: str) -> None:
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(data.get(key), list):
            raise ValueError(f"{path}: the list '{key}' is missing; a COCO panoptic file has images, annotations (with "
                             f'segments_info) and categories. Found: {", ".join(map(str, data)) or "nothing"}.')
    instance_like = [record for record in data['annotations'][:1] if isinstance(record, dict) and 'bbox' in record]
    if instance_like and 'segments_info' not in instance_like[0]:
        raise ValueError(f'{path} holds COCO instances (annotations with bbox), not panoptic annotations with '
                         f'segments_info; CocoDataset reads it.')


def _parse_annotations(records: list, images: Images, category_ids: np.ndarray,
                       defects: list[Defect]) -> tuple[list[str], list[Segments]]:
    image_rows = images.row_of()
    category_rows = {identity: row for row, identity in enumerate(category_ids.tolist())}
    nothing = Segments(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))
    names, segments = [''] * len(images.names), [nothing] * len(images.names)
    for position, record in enumerate(records):
        try:
            row, name, found = _parse_annotation(record, image_rows, category_rows)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            what = f'lacks {error}' if isinstance(error, KeyError) else str(error)
            defects.append(Defect(f'annotations[{position}]', what))
            continue
        if names[row]:
            defects.append(Defect(f'annotations[{position}]',
                                  f'image_id {record["image_id"]} has an annotation already', 'fatal'))
        names[row], segments[row] = name, found
    return names, segments


def _parse_annotation(record: dict, image_rows: dict, category_rows: dict) -> tuple[int, str, Segments]:
    if record['image_id'] not in image_rows:
        raise ValueError(f'image_id {record["image_id"]!r} is not in images')
    name = record['file_name']
    if not isinstance(name, str) or not name:
        raise ValueError(f'file_name is {name!r}; the name of a PNG is needed')
    ids, rows, crowd = array('q'), array('q'), array('b')
    for segment in record['segments_info']:
        if segment['category_id'] not in category_rows:
            raise ValueError(f'segment {segment["id"]} has category_id {segment["category_id"]!r}, which is not in '
                             f'categories')
        ids.append(segment['id'])
        rows.append(category_rows[segment['category_id']])
        crowd.append(bool(segment.get('iscrowd', 0)))
    found = Segments(np.array(ids, np.int64), np.array(rows, np.int64), np.array(crowd, bool))
    if len(found) and not (found.ids.min() > 0 and found.ids.max() < 2**24):
        raise ValueError(f'segment ids must be in 1 .. 2^24 - 1 (0 is void), got {found.ids.min()} to '
                         f'{found.ids.max()}')
    if len(np.unique(found.ids)) < len(found):
        raise ValueError('a segment id occurs twice in segments_info')
    return image_rows[record['image_id']], name, found


def _and_more(values: np.ndarray) -> str:
    return f' (and {len(values) - 1} more)' if len(values) > 1 else ''
