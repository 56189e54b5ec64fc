"""SA-1B's annotations: one JSON file an image, with one RLE a mask."""
from dataclasses import dataclass, field
from pathlib import Path

from . import rle
from .json_file import read_json_dict


@dataclass
class Sa1bJson:
    """Masks of one image, left encoded until they are asked for.

    Attributes:
        path: the file.
        size: (height, width) of the image, or None where the file does not say.
        records: object id (from 1, the position in the file) -> annotation record.
        lacking: number of records without the key that was filtered by.
    """

    path: str
    size: tuple[int, int] | None
    records: dict[int, dict] = field(default_factory=dict)
    lacking: int = 0

    @classmethod
    def load(cls, path: str | Path, *, min_iou: float = -1, iou_key: str = 'uncertain_iou') -> 'Sa1bJson':
        """Read a file.

        Args:
            min_iou: records whose ``iou_key`` is below are left out; 0 and below leaves none out.
            iou_key: 'uncertain_iou', or 'predicted_iou' as the published files have.

        Raises:
            FileNotFoundError, ValueError: missing or broken file, record without mask.
        """
        data = read_json_dict(path)
        if not isinstance(data.get('annotations'), list):
            raise ValueError(f"{path} has no list 'annotations'; its keys: {', '.join(map(str, data)) or 'none'}.")
        loaded = cls(str(path), _size({} if data.get('image') is None else data['image'], path))
        for number, record in enumerate(data['annotations'], 1):
            if not isinstance(record, dict) or not isinstance(record.get('segmentation'), dict):
                raise ValueError(f"{path}, annotation {number}: 'segmentation' must be an RLE (size and counts).")
            iou = record.get(iou_key) if min_iou > 0 else None
            if not isinstance(iou, (int, float, type(None))):
                raise ValueError(f'{path}, annotation {number}: {iou_key}={iou!r} is no number.')
            loaded.lacking += int(min_iou > 0 and iou is None)
            if iou is None or iou >= min_iou:
                loaded.records[number] = record
        return loaded

    def rle(self, object_id: int) -> dict:
        """The compressed RLE of a mask, checked.

        Raises:
            ValueError: it is broken; the message names the file and the record.
        """
        try:
            return rle.compress(self.records[object_id]['segmentation'])
        except (ValueError, TypeError) as error:
            raise ValueError(f'{self.path}, annotation {object_id}: {error}') from None


def _size(image: object, path: str | Path) -> tuple[int, int] | None:
    if not isinstance(image, dict):
        raise ValueError(f"{path}: 'image' must be an object with height and width, not {image!r}.")
    if not {'height', 'width'} <= image.keys():
        return None
    height, width = image['height'], image['width']
    if not isinstance(height, int) or not isinstance(width, int):
        raise ValueError(f"{path}: 'image' has height={height!r}, width={width!r}; whole numbers are needed.")
    return height, width
