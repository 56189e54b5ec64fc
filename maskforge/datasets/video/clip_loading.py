"""From the frames and objects of a clip to the results dict that the transforms take."""
import numpy as np

from ..transforms.load_image import LoadImageFromFile
from .frame_files import VideoFrame
from .frame_samplers import Clip
from .video_source import Segment, Video

_LOADER = LoadImageFromFile()


def load_clip(video: Video, clip: Clip, *, source: str) -> dict:
    """Read the frames of a clip; masks stay as they are until they are warped.

    Returns:
        ``frames`` (T (H, W, 3) uint8 BGR arrays), ``masks`` (T lists of O masks: (H, W) bool, compressed RLE, or None
        where the object is not to be seen), ``object_ids``, ``frame_names``, ``frame_ids``, ``video_name``,
        ``img_path`` (folder or file, for messages), ``ori_shape``, ``source``, ``is_image``.

    Raises:
        FileNotFoundError, ValueError: a frame that cannot be read, or a mask of another size than its frame.
    """
    images: dict[str, np.ndarray] = {}
    for frame in clip.frames:
        if frame.path not in images:
            images[frame.path] = read_frame(frame)
    frames = [images[frame.path] for frame in clip.frames]
    for frame, image in zip(clip.frames, frames):
        if image.shape != frames[0].shape:
            raise ValueError(f'{frame.path} has {_size(image.shape)} pixels, {clip.frames[0].path} has '
                             f'{_size(frames[0].shape)}; frames of a video need one size.')
    masks = [[checked_segment(video, frame, number, image.shape[:2]) for number in clip.object_ids]
             for frame, image in zip(clip.frames, frames)]
    return dict(frames=frames, masks=masks, object_ids=list(clip.object_ids), video_name=video.name,
                frame_names=tuple(frame.name for frame in clip.frames),
                frame_ids=tuple(frame.number for frame in clip.frames), img_path=video.path,
                ori_shape=tuple(frames[0].shape[:2]), source=source, is_image=video.is_image)


def read_frame(frame: VideoFrame) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR.

    Raises:
        FileNotFoundError, ValueError: see :class:`~maskforge.datasets.transforms.LoadImageFromFile`.
    """
    return _LOADER.transform(dict(img_path=frame.path))['img']


def checked_segment(video: Video, frame: VideoFrame, object_id: int, size: tuple[int, int]) -> Segment:
    """The mask of an object, if it has the frame's size (h, w).

    Raises:
        ValueError: it has another one.
    """
    segment = video.segments.segment(frame, object_id)
    if segment is not None:
        found = tuple(segment['size']) if isinstance(segment, dict) else segment.shape
        if found != tuple(size):
            raise ValueError(f'{video.segments.where(frame)}: the mask of object {object_id} has {_size(found)} '
                             f'pixels, its frame {frame.path} has {_size(size)} (width x height). Masks must be drawn '
                             'at the size of the frames.')
    return segment


def _size(shape: tuple[int, ...]) -> str:
    return f'{shape[1]} x {shape[0]}'
