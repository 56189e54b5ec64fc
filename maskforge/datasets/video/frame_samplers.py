"""Which frames and which objects of a video make a clip."""
from dataclasses import dataclass

import numpy as np

from maskforge.registry import DATA_SAMPLERS
from maskforge.structures import sample_rng

from .frame_files import VideoFrame
from .video_source import Video

SHORT_VIDEOS = ('skip', 'error', 'repeat')


@dataclass(frozen=True)
class Clip:
    """Frames of a video in the order in which they are shown, and ids of the objects, rising."""

    frames: tuple[VideoFrame, ...]
    object_ids: tuple[int, ...]


class ClipTooShortError(ValueError):
    """A video has fewer frames than a clip; ``fatal`` says that it must not be skipped."""

    def __init__(self, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.fatal = fatal


@DATA_SAMPLERS.register_module()
class RandomUniformSampler:
    """Neighbouring frames at a random place, and random objects of those that the first of them shows.

    Every window whose first frame shows an object is equally likely.

    Args:
        num_frames: frames of a clip.
        max_num_objects: the most objects of a clip.
        reverse_time_prob: probability that the clip is shown backwards (objects are then those of its last frame).
        short_videos: what happens with videos of fewer frames. 'skip': they count as broken, so that training names
            each once and draws another one; 'error': training ends; 'repeat': the clip goes back and forth.
    """

    def __init__(self, num_frames: int, max_num_objects: int, reverse_time_prob: float | int = 0.0, *,
                 short_videos: str = 'skip') -> None:
        for name, value in (('num_frames', num_frames), ('max_num_objects', max_num_objects)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'RandomUniformSampler: {name}={value!r}; a positive whole number is needed.')
        if not 0 <= reverse_time_prob <= 1:
            raise ValueError(f'RandomUniformSampler: reverse_time_prob={reverse_time_prob!r} must be in [0, 1].')
        if short_videos not in SHORT_VIDEOS:
            raise ValueError(f'RandomUniformSampler: short_videos={short_videos!r} must be one of '
                             f'{", ".join(SHORT_VIDEOS)}.')
        self.num_frames, self.max_num_objects = num_frames, max_num_objects
        self.reverse_time_prob, self.short_videos = reverse_time_prob, short_videos

    def sample(self, video: Video) -> Clip:
        """Draw a clip.

        Raises:
            ClipTooShortError: the video is too short. ValueError: no frame shows an object.
        """
        rng = sample_rng()
        frames = self._long_enough(video)
        starts = rng.permutation(len(frames) - self.num_frames + 1)
        backwards = rng.random(len(starts)) < self.reverse_time_prob
        tries = list(zip(starts.tolist(), backwards.tolist()))
        if 0 < self.reverse_time_prob < 1:  # a window may show objects at its other end only
            tries += [(start, not backward) for start, backward in tries]
        for start, backward in tries:
            window = frames[start:start + self.num_frames]
            window = window[::-1] if backward else window
            visible = video.segments.visible(window[0])
            if visible:
                return Clip(tuple(window), self._choose(visible, rng))
        raise ValueError(f'{video.path}: none of the {len(tries)} clips of {self.num_frames} frames begins with a '
                         f'frame that shows an object ({video.segments.where(video.frames[0])}).')

    def _choose(self, visible: list[int], rng: np.random.Generator) -> tuple[int, ...]:
        if len(visible) <= self.max_num_objects:
            return tuple(visible)
        return tuple(sorted(rng.choice(visible, self.max_num_objects, replace=False).tolist()))

    def _long_enough(self, video: Video) -> list[VideoFrame]:
        frames, lacking = list(video.frames), self.num_frames - len(video.frames)
        if lacking <= 0:
            return frames
        if self.short_videos != 'repeat':
            raise ClipTooShortError(
                f'{video.path} has {len(frames)} frames to learn from, a clip needs num_frames={self.num_frames}. Set '
                "a smaller num_frames, or short_videos='repeat' in RandomUniformSampler to show frames again.",
                fatal=self.short_videos == 'error')
        there_and_back = frames + frames[-2:0:-1]
        return [there_and_back[place % len(there_and_back)] for place in range(self.num_frames)]


@DATA_SAMPLERS.register_module()
class EvalSampler:
    """All frames of a video in their order, and all objects of the first one."""

    def sample(self, video: Video) -> Clip:
        """The whole video.

        Raises:
            ValueError: the first frame shows no object.
        """
        frames = tuple(sorted(video.frames, key=lambda frame: frame.number))
        visible = video.segments.visible(frames[0])
        if not visible:
            raise ValueError(f'{video.path}: the first frame shows no object ({video.segments.where(frames[0])}); '
                             'WholeVideoDataset evaluates objects that appear later.')
        return Clip(frames, tuple(visible))
