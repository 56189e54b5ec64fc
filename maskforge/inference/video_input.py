"""A video file or a folder of frames as a lazy sequence of images."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from maskforge.formats.video_file import VIDEO_SUFFIXES
from maskforge.inference.image_list import list_images

DEFAULT_FPS = 24.


class VideoEnd(EOFError):
    """The file ends before the frame that was asked for."""


class FrameFolder(Sequence):
    """The images of a folder, by name.

    Attributes:
        names: of the frames, without endings.
        fps: frames per second; a folder does not say, so it is :data:`DEFAULT_FPS`.

    Raises:
        FileNotFoundError: no images.
    """

    fps = DEFAULT_FPS

    def __init__(self, folder: str | Path) -> None:
        self._images = [image for image in list_images(folder) if '/' not in image.name]
        if not self._images:
            raise FileNotFoundError(f"the folder '{folder}' has images only in folders of its own; name one of them.")
        self.names = tuple(Path(image.name).stem for image in self._images)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, frame: int) -> np.ndarray:
        return self._images[frame].read()


class VideoFile(Sequence):
    """The frames of a video file, decoded when they are asked for; reading on is fast, going back starts anew.

    Attributes:
        names: five digits each.
        fps: frames per second.

    Raises:
        ValueError: the file cannot be decoded.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._open()
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        # some containers do not say how many frames they hold
        self._length = count if count > 0 else self._count()
        if not self._length:
            raise ValueError(f"'{path}' has no frame that can be decoded.")
        self.names = tuple(f'{frame:05d}' for frame in range(self._length))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR.

        Raises:
            VideoEnd: the file ends earlier than it states.
        """
        if frame < self._next:
            self._open()
        while self._next <= frame:
            if not self._capture.grab():
                raise VideoEnd(f"'{self.path}' ends after {self._next} of the {self._length} frames that it states.")
            self._next += 1
            if self._next > frame:
                break
        decoded, image = self._capture.retrieve()
        if not decoded:
            raise ValueError(f"'{self.path}': frame {frame} cannot be decoded.")
        return image

    def _open(self) -> None:
        self._capture, self._next = cv2.VideoCapture(str(self.path)), 0
        if not self._capture.isOpened():
            raise ValueError(f"'{self.path}' cannot be decoded as a video; extract its frames to a folder, for example "
                             f"with ffmpeg -i {self.path.name} frames/%05d.jpg, and give the folder.")

    def _count(self) -> int:
        count = 0
        while self._capture.grab():
            count += 1
        self._open()
        return count


def open_frames(path: str | Path) -> FrameFolder | VideoFile:
    """Return the frames of a folder or a video file.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: neither a folder nor a file with one of :data:`~maskforge.formats.video_file.VIDEO_SUFFIXES`.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return FrameFolder(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no video file or folder of frames '{path}'.")
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise ValueError(f"'{path}' is not a video file ({', '.join(VIDEO_SUFFIXES)}), nor a folder of frames.")
    return VideoFile(path)
