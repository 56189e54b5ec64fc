"""Frames and masks of a whole video that are read when they are asked for."""
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch


class VideoFrames:
    """T frames as the network takes them, of which only a few are in memory.

    It has a length, indices and an iterator, but is no ``collections.abc.Sequence``: collate functions and data
    preprocessors take those apart, which would decode every frame.

    Args:
        names: T names, without folder and extension.
        load: gives frame t as uint8 tensor (3, H, W), BGR, at the network's input size. It travels to other processes
            where the loader has workers, so it must be picklable.
        ori_shape: (h, w) of the frames in the files.
        kept: number of decoded frames that stay in memory.
    """

    def __init__(self, names: Sequence[str], load: Callable[[int], torch.Tensor], *, ori_shape: tuple[int, int],
                 kept: int = 2) -> None:
        if kept < 1:
            raise ValueError(f'kept={kept} of VideoFrames: at least one frame stays in memory.')
        self.names = tuple(names)
        self.ori_shape = (int(ori_shape[0]), int(ori_shape[1]))
        self._load, self._kept = load, kept
        self._frames: OrderedDict[int, torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Frame ``index`` (negative ones count from the end); a slice is refused, as its frames might not fit."""
        if isinstance(index, slice):
            raise TypeError('VideoFrames gives one frame at a time: frames[t], not a slice.')
        place = _place(int(index), len(self))
        if place not in self._frames:
            while len(self._frames) >= self._kept:
                self._frames.popitem(last=False)
            self._frames[place] = self._load(place)
        self._frames.move_to_end(place)
        return self._frames[place]

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self[place] for place in range(len(self)))

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_frames': OrderedDict()}


class VideoMasks:
    """True masks of the annotated frames of a video.

    Args:
        load: gives the masks of frame t, a dict of object id -> (H, W) bool array at ``ori_shape``. Objects that are
            not to be seen may be left out or have an empty mask. Picklable, as that of :class:`VideoFrames`.
        annotated: places of the annotated frames in the video, rising.
        object_ids: ids of all objects where they are known; otherwise all annotations are read when first asked.

    Attributes:
        annotated: list of those places.
    """

    def __init__(self, load: Callable[[int], dict[int, np.ndarray]], annotated: Sequence[int], *,
                 object_ids: Sequence[int] | None = None) -> None:
        self.annotated = [int(place) for place in annotated]
        self._load = load
        self._object_ids = None if object_ids is None else sorted(int(number) for number in object_ids)
        self._first_frames: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self.annotated)

    def __iter__(self) -> Iterator[int]:
        return iter(self.annotated)

    def __contains__(self, frame: int) -> bool:
        return frame in self.annotated

    def __getitem__(self, frame: int) -> dict[int, np.ndarray]:
        """Masks of frame ``frame``.

        Raises:
            KeyError: the frame is not annotated.
        """
        if frame not in self.annotated:
            near = sorted(self.annotated, key=lambda place: abs(place - frame))[:3]
            raise KeyError(f'frame {frame} has no annotation; the nearest that have are {sorted(near)}.')
        return self._load(frame)

    @property
    def object_ids(self) -> list[int]:
        """Ids of all objects of the video, rising."""
        if self._object_ids is None:
            self._object_ids = sorted(self.first_frames())
        return self._object_ids

    def first_frames(self) -> dict[int, int]:
        """Object id -> first annotated frame in which it is to be seen; reads all annotations once."""
        if self._first_frames is None:
            found: dict[int, int] = {}
            for frame in self.annotated:
                for number, mask in self._load(frame).items():
                    if number not in found and mask.any():
                        found[number] = frame
            self._first_frames = dict(sorted(found.items()))
        return self._first_frames


def _place(index: int, length: int) -> int:
    if not -length <= index < length:
        raise IndexError(f'frame {index} of a video of {length} frames.')
    return index % length
