"""MP4 files of drawn frames."""
import importlib.util
import logging
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log

CODECS = ('auto', 'h264', 'mp4v')


class VideoWriter:
    """Writes an MP4, frame by frame; use as a context manager. The file appears when all frames are in it.

    H.264, which browsers play, needs PyAV. Without it OpenCV writes MPEG-4 part 2 (``'mp4v'``), which most players
    show but browsers do not; that is said once.

    Args:
        path: must end in ``.mp4``.
        fps: frames per second.
        codec: ``'h264'``, ``'mp4v'``, or ``'auto'`` for the first where PyAV is installed.
        crf: quality of H.264, 0 (best) to 51.

    Raises:
        ValueError: another ending, an unknown codec, frames per second that are not positive, or (at the end) no
            frame.
        ImportError: ``'h264'`` without PyAV.
    """

    def __init__(self, path: str | Path, *, fps: float | int = 24.0, codec: str = 'auto', crf: int = 20) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4':
            raise ValueError(f'{path}: videos are written as MP4; the file name must end in .mp4.')
        if codec not in CODECS:
            raise ValueError(f'codec={codec!r}: allowed are {", ".join(CODECS)}.')
        if not fps > 0:
            raise ValueError(f'fps={fps!r}: frames per second must be positive.')
        self.fps, self.crf = fps, crf
        self.codec = _choose_codec() if codec == 'auto' else codec
        if self.codec == 'h264' and not _has_av():
            raise ImportError("codec='h264' needs PyAV: pip install maskforge[video]; codec='mp4v' does without.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.path.with_name(f'.{self.path.stem}.{os.getpid()}.partial.mp4')
        self._backend: _AvFile | _CvFile | None = None
        self._size: tuple[int, int] | None = None

    def add(self, image: np.ndarray) -> None:
        """Append an (H, W, 3) uint8 BGR frame; all frames have one size.

        Odd sides get one more row or column, which the video formats need.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'{self.path}: a frame must be uint8 of shape (H, W, 3), got {image.dtype} {image.shape}.')
        if self._size is None:
            self._size = image.shape[:2]
            width, height = (side + side % 2 for side in image.shape[1::-1])
            kind = _AvFile if self.codec == 'h264' else _CvFile
            self._backend = kind(self._partial, width, height, self.fps, self.crf)
        if image.shape[:2] != self._size:
            raise ValueError(f'{self.path}: this frame has {image.shape[1]} x {image.shape[0]} pixels, the first had '
                             f'{self._size[1]} x {self._size[0]}.')
        odd = [side % 2 for side in self._size]
        self._backend.add(cv2.copyMakeBorder(image, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE) if any(odd) else image)

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._backend is not None:
            self._backend.close()
        if kind is None and self._size is None:
            raise ValueError(f'{self.path}: there are no frames to write.')
        if kind is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)


class _AvFile:
    """H.264 through PyAV."""

    def __init__(self, path: Path, width: int, height: int, fps: float | int, crf: int) -> None:
        import av
        self._frame: Any = av.VideoFrame
        self._container = av.open(str(path), 'w', format='mp4')
        self._stream = self._container.add_stream('libx264', rate=Fraction(fps).limit_denominator(1001),
                                                  options={'crf': str(crf)})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, 'yuv420p'

    def add(self, image: np.ndarray) -> None:
        frame = self._frame.from_ndarray(np.ascontiguousarray(image), format='bgr24')
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _CvFile:
    """MPEG-4 part 2 through OpenCV; its quality cannot be set."""

    def __init__(self, path: Path, width: int, height: int, fps: float | int, crf: int) -> None:
        self._file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, (width, height))
        if not self._file.isOpened():
            raise OSError(f'{path}: this OpenCV cannot write MP4; pip install maskforge[video] brings PyAV.')

    def add(self, image: np.ndarray) -> None:
        self._file.write(image)

    def close(self) -> None:
        self._file.release()


def _has_av() -> bool:
    return importlib.util.find_spec('av') is not None


def _choose_codec() -> str:
    if _has_av():
        return 'h264'
    print_log('PyAV is not installed, so the video is written as MPEG-4 part 2 (mp4v), which browsers do not play; pip '
              'install maskforge[video] brings H.264.', logger='current', level=logging.WARNING)
    return 'mp4v'
