"""``VideoSession``: one video that objects are followed through, frame by frame.

The memory of every object is its own (rows of one object), as its prompts are; objects whose memories are of the same
frames go through the network together.
"""
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from maskforge.models.sam2.frame_result import FrameResult, frame_logits
from maskforge.models.sam2.frame_source import FrameSource
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.memory_keeper import MemoryKeeper
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.prompt_predictor import LOGIT_LIMIT
from maskforge.models.sam2.settings_override import settings_override
from maskforge.models.sam2.structures import ImageFeatures, MaskOutput, Prompts
from maskforge.models.sam2.tracked_object import FrameMask, TrackedObject
from maskforge.models.sam2.tracking import track_frame
from maskforge.models.sam2.user_prompts import Given, UserPrompts

#: of a video whose end is not known; the network looks at most 16 frames back
UNKNOWN_LENGTH = 10**6


@dataclass(frozen=True)
class SessionSettings:
    """See :class:`~maskforge.models.sam2.video_predictor.VideoPredictor`."""

    objects_per_batch: int = 16
    mask_threshold: float | int = 0.
    score_threshold: float | int = 0.
    non_overlap_masks: bool = False
    fill_hole_area: int | float = 0
    dynamic_multimask: bool | None = None
    stability_delta: float | int | None = None
    stability_threshold: float | int | None = None
    binarize_prompted: bool | None = None
    corrected_as_conditioning: bool = True
    clear_non_cond_mem_around_input: bool = False
    history: int | None = 0
    memory_dtype: str | torch.dtype | None = None
    memory_device: str | torch.device | None = None

    def __post_init__(self) -> None:
        if self.objects_per_batch < 1:
            raise ValueError(f'objects_per_batch={self.objects_per_batch} must be at least 1.')
        if self.history is not None and self.history < 0:
            raise ValueError(f'history={self.history} must be a number of frames, or None to keep all.')
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f'score_threshold={self.score_threshold} is a probability, in 0 .. 1.')

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of the network."""
        return dict(dynamic_multimask_via_stability=self.dynamic_multimask,
                    dynamic_multimask_stability_delta=self.stability_delta,
                    dynamic_multimask_stability_thresh=self.stability_threshold,
                    binarize_mask_from_pts_for_mem_enc=self.binarize_prompted)


class VideoSession:
    """Objects, their prompts and memories in one video; see :class:`~maskforge.models.sam2.VideoPredictor`.

    Prompts may come at any time: before, between and after :meth:`propagate` and inside of its loop (an object that is
    added on the present frame is followed from the next one on).
    """

    def __init__(self, network: SAM2Network, source: FrameSource, settings: SessionSettings) -> None:
        self.network, self.source, self.settings = network, source, settings
        device = next(network.parameters()).device
        mask_size = tuple(side // 4 for side in network.image_size)
        self._reader = UserPrompts(source.scaling, mask_size, device)
        self._keeper = MemoryKeeper(settings.memory_dtype, settings.memory_device)
        self._objects: dict[Hashable, TrackedObject] = {}

    @property
    def object_ids(self) -> tuple[Hashable, ...]:
        """Ids in the order in which objects were added."""
        return tuple(self._objects)

    def stored_frames(self) -> int:
        """Number of frames of memory that are held, over all objects."""
        return sum(len(one.bank.conditioning) + len(one.bank.others) for one in self._objects.values())

    def first_prompted_frame(self) -> int:
        """The earliest frame that an object was prompted on.

        Raises:
            ValueError: no objects.
        """
        return min(self._prompted_frames())

    def last_mask(self, frame: int, object_id: Hashable) -> np.ndarray | None:
        """(H, W) bool mask that the object had when the frame was last predicted; None where it is not kept.

        How many frames are kept is the setting ``history``.
        """
        mask = self._objects[object_id].masks.get(frame) if object_id in self._objects else None
        return None if mask is None else self._result(frame, {object_id: mask}).masks[0].cpu().numpy()

    @torch.no_grad()
    def add_points_or_box(self, frame: int, object_id: Hashable, *, point_coords: Given = None,
                          point_labels: Given = None, box: Given = None, clear_old_points: bool = True) -> FrameResult:
        """Prompt an object, new or known, on a frame.

        Args:
            point_coords: (P, 2), x and y in pixels of the frames.
            point_labels: (P,), 1 inside, 0 outside.
            box: (4,) xyxy; only together with ``clear_old_points``, as it comes before all points.
            clear_old_points: forget the points that the object has on this frame.

        Returns:
            This object's mask on this frame.

        Raises:
            ValueError: bad prompts, see :class:`~maskforge.models.sam2.user_prompts.UserPrompts`; an id of another
                type than the other objects have.
            IndexError: no such frame.
        """
        if box is not None and not clear_old_points:
            raise ValueError('a box comes before the points of a frame: give it with clear_old_points=True and the '
                             'points anew.')
        prompts, has_axis = self._reader.read(self.source.size, point_coords=point_coords, point_labels=point_labels,
                                              box=box)
        if has_axis:
            raise ValueError('prompts of a video are of one object: point_coords (points, 2) and box (4,).')
        self._check_id(object_id)
        features = self.source.features(frame)
        one = self._objects.get(object_id) or TrackedObject(MemoryBank())
        if not clear_old_points and frame in one.prompts:
            prompts = one.prompts[frame].add_points(prompts.points, prompts.labels)
        one.prompts[frame] = prompts
        if frame in one.masks:
            prompts = prompts.with_masks(one.masks[frame].logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
        self._objects[object_id] = one
        return self._prompted(frame, object_id, self._decode([one], frame, features, prompts=prompts))

    @torch.no_grad()
    def add_mask(self, frame: int, object_id: Hashable, mask: np.ndarray | Tensor) -> FrameResult:
        """Give an object its mask, (H, W) bool at the size of the frames, on a frame.

        It replaces other prompts of the object on this frame and is taken as it is.

        Raises:
            ValueError: another size than the frames have; an id of another type than the other objects have.
            IndexError: no such frame.
        """
        array = mask if isinstance(mask, Tensor) else torch.from_numpy(np.ascontiguousarray(mask))
        pixels = array.to(self._reader.device)
        if tuple(pixels.shape) != self.source.size:
            raise ValueError(f'the mask has the size {tuple(pixels.shape)}, the frames (h, w) = {self.source.size}.')
        self._check_id(object_id)
        features = self.source.features(frame)
        resized = (pixels != 0).float()[None, None]
        if self.source.size != tuple(self.network.image_size):
            resized = F.interpolate(resized, size=self.network.image_size, mode='bilinear', align_corners=False,
                                    antialias=True)
        one = self._objects.setdefault(object_id, TrackedObject(MemoryBank()))
        one.prompts.pop(frame, None)
        output = self._decode([one], frame, features, masks=(resized >= 0.5).float())
        return self._prompted(frame, object_id, output)

    @torch.no_grad()
    def track(self, frame: int, *, reverse: bool = False, from_first_prompt: bool = True) -> FrameResult:
        """Predict one frame from what is remembered, and remember it.

        Args:
            reverse: time runs backwards.
            from_first_prompt: leave out objects that were not prompted yet when time comes to this frame; False
                follows them with the memory of frames to come.

        Returns:
            All objects that take part.

        Raises:
            ValueError: no objects.
            IndexError: no such frame, or a stream has passed it.
        """
        if not self._objects:
            raise ValueError('there is nothing to track: add an object with add_points_or_box or add_mask first.')
        self._remember_prompted()
        joined = {key: one for key, one in self._objects.items()
                  if one.bank.conditioning and (not from_first_prompt or _joined(one, frame, reverse))}
        following = [one for one in joined.values() if frame not in one.bank.conditioning]
        if self.settings.clear_non_cond_mem_around_input:
            for one in joined.values():
                if frame in one.bank.conditioning:
                    one.bank.forget_around(frame, settings=self.network.settings)
        if following:
            features = self.source.features(frame)
            for batch in self._batches(following):
                self._follow(batch, frame, features, reverse)
        elif not self.source.has(frame):
            raise IndexError(f'frame {frame} does not exist.')
        for one in joined.values():
            one.tracked.add(frame, reverse=reverse)
        for one in self._objects.values():
            self._keeper.trim(self.network, one.bank, frame, reverse=reverse, history=self.settings.history)
            one.forget_masks(frame, history=self.settings.history)
        return self._result(frame, {key: one.masks[frame] for key, one in joined.items()})

    def propagate(self, start_frame: int | None = None, *, max_frames: int | None = None, reverse: bool = False,
                  from_first_prompt: bool = True) -> Iterator[FrameResult]:
        """Yield frame after frame; what was yielded is not kept.

        Args:
            start_frame: by default the first prompted frame, with ``reverse`` the last one.
            max_frames: number of frames; by default to the end of the video (to its beginning with ``reverse``).
            reverse, from_first_prompt: see :meth:`track`.

        Raises:
            ValueError: no objects.
        """
        prompted = self._prompted_frames()
        frame = start_frame if start_frame is not None else max(prompted) if reverse else min(prompted)
        count = 0
        while (max_frames is None or count < max_frames) and self.source.has(frame):
            yield self.track(frame, reverse=reverse, from_first_prompt=from_first_prompt)
            frame, count = frame + (-1 if reverse else 1), count + 1

    def remove_object(self, object_id: Hashable) -> None:
        """Forget an object; the others are not affected.

        Raises:
            KeyError: there is no such object.
        """
        if object_id not in self._objects:
            raise KeyError(f'there is no object {object_id!r}; the objects are {list(self._objects)}.')
        del self._objects[object_id]

    def reset(self) -> None:
        """Forget all objects; the video stays open."""
        self._objects.clear()

    def _check_id(self, object_id: Hashable) -> None:
        """1 and '1' are different keys, though hardly ever different objects."""
        for known in self._objects:
            numbers = isinstance(known, Integral) and isinstance(object_id, Integral)
            if not numbers and type(known) is not type(object_id):
                raise ValueError(f'object id {object_id!r} is of type {type(object_id).__name__}, but {known!r} of '
                                 f'type {type(known).__name__}; the ids of a video are of one type.')

    def _prompted_frames(self) -> list[int]:
        prompted = [frame for one in self._objects.values() for frame in one.prompted_frames()]
        if not prompted:
            raise ValueError('there is nothing to track: add an object with add_points_or_box or add_mask first.')
        return prompted

    def _batches(self, objects: Sequence[TrackedObject]) -> Iterator[list[TrackedObject]]:
        """Objects whose memories are of the same frames, few enough at a time."""
        groups: dict[tuple, list[TrackedObject]] = {}
        for one in objects:
            groups.setdefault((tuple(sorted(one.bank.conditioning)), tuple(sorted(one.bank.others))), []).append(one)
        size = self.settings.objects_per_batch
        return (group[start:start + size] for group in groups.values() for start in range(0, len(group), size))

    def _follow(self, batch: list[TrackedObject], frame: int, features: ImageFeatures, reverse: bool) -> None:
        output = self._decode(batch, frame, features, reverse=reverse)
        self._keeper.remember(self.network, [one.bank for one in batch], frame, features, output, conditioning=False,
                              from_prompts=False)
        for one, mask in zip(batch, _masks_of(output)):
            one.masks[frame] = mask

    def _decode(self, batch: list[TrackedObject], frame: int, features: ImageFeatures, *,
                prompts: Prompts | None = None, masks: Tensor | None = None, reverse: bool = False) -> MaskOutput:
        prompted = prompts is not None or masks is not None
        initial = prompted and (frame not in batch[0].tracked or not batch[0].bank.conditioning)
        if prompted:
            reverse = not initial and batch[0].tracked.reverse(frame)
        time = dict(num_frames=self.source.length or UNKNOWN_LENGTH, reverse=reverse)
        bank = MemoryBank() if initial else self._keeper.together(self.network, [one.bank for one in batch], frame,
                                                                  **time)
        with settings_override(self.network, **self.settings.overrides):
            return track_frame(self.network, features, bank, frame, initial=initial, prompts=prompts, masks=masks,
                               **time)

    def _prompted(self, frame: int, object_id: Hashable, output: MaskOutput) -> FrameResult:
        one = self._objects[object_id]
        is_conditioning = frame not in one.tracked or self.settings.corrected_as_conditioning
        one.pending[frame] = output, is_conditioning or frame in one.bank.conditioning
        one.masks[frame] = _masks_of(output)[0]
        return self._result(frame, {object_id: one.masks[frame]})

    def _remember_prompted(self) -> None:
        """Encode the memory of prompted frames: late, so that a series of clicks costs it once."""
        frames = sorted({frame for one in self._objects.values() for frame in one.pending})
        for frame in frames:
            features = self.source.features(frame)
            for one in self._objects.values():
                if frame in one.pending:
                    output, is_conditioning = one.pending.pop(frame)
                    with settings_override(self.network, **self.settings.overrides):
                        self._keeper.remember(self.network, [one.bank], frame, features, output,
                                              conditioning=is_conditioning, from_prompts=True)

    def _result(self, frame: int, masks: dict[Hashable, FrameMask]) -> FrameResult:
        settings, low = self.settings, self._reader.mask_size
        scores = torch.tensor([mask.score for mask in masks.values()], device=self._reader.device)
        stacked = torch.cat([mask.logits[:, 0] for mask in masks.values()]) if masks else torch.zeros(
            0, *low, device=self._reader.device)
        unseen = (scores < settings.score_threshold)[:, None, None]
        logits = frame_logits(stacked.masked_fill(unseen, -LOGIT_LIMIT), self.source.size,
                              fill_hole_area=settings.fill_hole_area, without_overlaps=settings.non_overlap_masks)
        return FrameResult(frame, tuple(masks), logits, scores, settings.mask_threshold)


def _joined(one: TrackedObject, frame: int, reverse: bool) -> bool:
    return any(place >= frame if reverse else place <= frame for place in one.bank.conditioning)


def _masks_of(output: MaskOutput) -> list[FrameMask]:
    scores = output.object_scores.float().sigmoid().flatten().tolist()
    return [FrameMask(logits, score) for logits, score in zip(output.masks_low.float().split(1), scores)]
