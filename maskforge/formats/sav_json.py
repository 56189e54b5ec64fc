"""SA-V's annotations: one JSON file a video, a list of frames, each a list of one RLE per object."""
from pathlib import Path

from . import rle
from .json_file import read_json


class SavJson:
    """Masks of a video's annotated frames.

    Attributes:
        path: the file.
        ann_every: frame number of annotation i is ``i * ann_every``.
        object_ids: ids of the objects, in the order of the RLEs of a frame.
    """

    def __init__(self, path: str, frames: list, *, ann_every: int, object_ids: list[int]) -> None:
        self.path, self.ann_every, self.object_ids = path, ann_every, object_ids
        self._frames = frames
        self._rows = {number: row for row, number in enumerate(object_ids)}

    @classmethod
    def load(cls, path: str | Path, *, ann_every: int = 1, frames_fps: int = 24) -> 'SavJson':
        """Read a file: an object with ``masklet`` (or ``masks``), or the bare list.

        Args:
            ann_every: number of frames from one annotation to the next; a rate ``fps`` in the file overrides it.
            frames_fps: rate of the frames, for that case.

        Raises:
            FileNotFoundError, ValueError: missing, broken or contradictory file.
        """
        data = read_json(path)
        frames = data
        if isinstance(data, dict):
            key = next((name for name in ('masklet', 'masks') if name in data), None)
            if key is None:
                raise ValueError(f"{path} has neither 'masklet' nor 'masks'; its keys: {', '.join(map(str, data))}.")
            frames = data[key]
            if data.get('fps') is not None:
                ann_every = _frames_per_annotation(data['fps'], frames_fps, path)
        need = f'{path}: a list of frames is needed, each a list of RLEs or null'
        if not isinstance(frames, list):
            raise ValueError(f"{need}; 'masklet' (or 'masks', or the whole file) is a {type(frames).__name__}.")
        for place, frame in enumerate(frames):
            if not (frame is None or isinstance(frame, list)):
                raise ValueError(f'{need}; frame {place} of them is {frame!r:.60}.')
        counts = {len(frame) for frame in frames if frame is not None}
        if len(counts) > 1:
            raise ValueError(f'{path}: frames have different numbers of objects ({sorted(counts)}); each needs one '
                             'entry per object, null where it is not annotated.')
        ids = _object_ids(data, counts.pop() if counts else 0, path)
        return cls(str(path), frames, ann_every=ann_every, object_ids=ids)

    def annotated_frames(self, *, complete: bool) -> list[int]:
        """Frame numbers that have an annotation; with ``complete``, one of every object."""
        return [place * self.ann_every for place, frame in enumerate(self._frames)
                if frame is not None and (None not in frame if complete else any(item is not None for item in frame))]

    def rle(self, frame: int, object_id: int) -> dict | None:
        """The object's RLE in a frame, checked; None where it is not annotated.

        Raises:
            ValueError: the RLE is broken; the message names file, frame and object.
        """
        place, rest = divmod(frame, self.ann_every)
        entries = self._frames[place] if not rest and place < len(self._frames) else None
        item = entries[self._rows[object_id]] if entries else None
        if item is None:
            return None
        try:
            return rle.compress(item)
        except (ValueError, AttributeError, TypeError, OverflowError) as error:
            raise ValueError(f'{self.path}, frame {frame}, object {object_id}: {error}') from None

    def visible(self, frame: int) -> list[int]:
        """Ids of the objects that have pixels in a frame."""
        items = {number: self.rle(frame, number) for number in self.object_ids}
        return [number for number, item in items.items() if item is not None and rle.area(item) > 0]


def _frames_per_annotation(fps: object, frames_fps: int, path: str | Path) -> int:
    rate = fps[0] if isinstance(fps, list) and fps else fps
    if not isinstance(rate, (int, float)) or rate <= 0 or frames_fps % rate:
        raise ValueError(f'{path}: annotations at fps={fps!r} do not fall on frames at frames_fps={frames_fps}; set '
                         'frames_fps to a multiple.')
    return int(frames_fps // rate)


def _object_ids(data: object, count: int, path: str | Path) -> list[int]:
    """Ids of ``masklet_id`` where they are given, else 0, 1, ..."""
    given = data.get('masklet_id') if isinstance(data, dict) else None
    if given is None:
        return list(range(count))
    kinds = sorted({type(number).__name__ for number in given}) if isinstance(given, list) else [type(given).__name__]
    if kinds not in (['int'], []):
        raise ValueError(f"{path}: the ids in 'masklet_id' are of type {' and '.join(kinds)}; whole numbers are needed "
                         'throughout.')
    if len(set(given)) != len(given) or (count and len(given) != count):
        raise ValueError(f"{path}: 'masklet_id' has {len(given)} ids ({len(set(given))} different ones) for {count} "
                         'objects a frame.')
    return list(given)
