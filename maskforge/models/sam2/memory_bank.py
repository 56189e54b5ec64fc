"""The memories of N objects in one clip or video, and which of them a frame looks at."""
from collections.abc import Iterable
from dataclasses import dataclass, field

from maskforge.models.sam2.network_settings import NetworkSettings
from maskforge.models.sam2.structures import FrameMemory


@dataclass
class SelectedMemories:
    """What memory attention on one frame sees.

    Attributes:
        spatial: (place, memory) pairs in the order of attention: place 0 for conditioning frames, then 1 (the frame
            that is ``num_maskmem`` - 1 back) to ``num_maskmem`` - 1 (the frame before).
        pointers: (distance, memory) pairs; distance in frames, positive towards where the clip comes from.
        reach: the longest distance in frames that a pointer of another than a conditioning frame can have, at least 1.
    """

    spatial: list[tuple[int, FrameMemory]]
    pointers: list[tuple[int, FrameMemory]]
    reach: int


@dataclass
class MemoryBank:
    """Memories by frame index; the rows of all memories are the same N objects.

    Attributes:
        conditioning: of frames that a prompt spoke of (or that were corrected).
        others: of frames that were tracked.
    """

    conditioning: dict[int, FrameMemory] = field(default_factory=dict)
    others: dict[int, FrameMemory] = field(default_factory=dict)

    def store(self, frame: int, memory: FrameMemory, *, conditioning: bool) -> None:
        """Keep a frame's memory in the place of an earlier one of either kind."""
        kept, other = (self.conditioning, self.others) if conditioning else (self.others, self.conditioning)
        kept[frame] = memory
        other.pop(frame, None)

    def select(self, frame: int, *, num_frames: int, settings: NetworkSettings, reverse: bool = False,
               training: bool = False) -> SelectedMemories:
        """Return the memories that a frame looks at (Ravi et al. 2024, section 4, "memory bank").

        Args:
            num_frames: length of the clip or video; short ones limit the pointers.
            settings: the network's.
            reverse: the video is tracked from its end to its beginning.
            training: not limited to what only holds outside training (stride, pointers of the past).
        """
        chosen, rest = _nearest(self.conditioning, frame, settings.max_cond_frames_in_attn)
        past = {**rest, **self.others}
        spatial = [(0, memory) for memory in chosen.values()]
        stride = 1 if training else settings.memory_temporal_stride_for_eval
        for place, other in _recent_frames(frame, settings.num_maskmem, stride, reverse):
            if other in past:
                spatial.append((place, past[other]))
        pointers, reach = [], min(num_frames, settings.max_obj_ptrs_in_encoder) - 1
        if settings.use_obj_ptrs_in_encoder:
            pointers = _conditioning_pointers(chosen, frame, settings, reverse, training)
            pointers += _recent_pointers(past, frame, reach, num_frames, reverse)
        return SelectedMemories(spatial, pointers, max(reach, 1))

    def forget_around(self, frame: int, *, settings: NetworkSettings) -> None:
        """Forget the tracked frames near enough to a corrected one to have been looked at together with it."""
        reach = settings.num_maskmem * settings.memory_temporal_stride_for_eval
        self.others = {other: memory for other, memory in self.others.items() if abs(other - frame) > reach}

    def trim(self, frame: int, *, settings: NetworkSettings, reverse: bool = False) -> None:
        """Forget what no frame after ``frame`` (before it, in reverse) can look at; conditioning frames stay."""
        reach = max(settings.max_obj_ptrs_in_encoder - 1, (settings.num_maskmem - 1)
                    * settings.memory_temporal_stride_for_eval)
        for other in list(self.others):
            if (other - frame if reverse else frame - other) >= reach:
                del self.others[other]


def _nearest(conditioning: dict[int, FrameMemory], frame: int,
             limit: int) -> tuple[dict[int, FrameMemory], dict[int, FrameMemory]]:
    """The conditioning memories that are looked at, and the rest: nearest before, nearest after, then by distance."""
    if limit == -1 or len(conditioning) <= limit:
        return conditioning, {}
    before = max((other for other in conditioning if other < frame), default=None)
    after = min((other for other in conditioning if other >= frame), default=None)
    first = [other for other in (before, after) if other is not None]
    by_distance = sorted((other for other in conditioning if other not in first), key=lambda other: abs(other - frame))
    chosen = (first + by_distance)[:limit]
    return ({other: conditioning[other] for other in chosen},
            {other: memory for other, memory in conditioning.items() if other not in chosen})


def _recent_frames(frame: int, num_maskmem: int, stride: int, reverse: bool) -> Iterable[tuple[int, int]]:
    """Places 1 .. num_maskmem - 1 and their frames; only the frame before is off the stride's grid."""
    sign = -1 if reverse else 1
    for place in range(1, num_maskmem):
        back = num_maskmem - place
        if back == 1:
            yield place, frame - sign
        else:
            nearest = ((sign * frame - 2) // stride) * stride
            yield place, sign * (nearest - (back - 2) * stride)


def _conditioning_pointers(chosen: dict[int, FrameMemory], frame: int, settings: NetworkSettings, reverse: bool,
                           training: bool) -> list[tuple[int, FrameMemory]]:
    pointers = [((other - frame if reverse else frame - other), memory) for other, memory in chosen.items()]
    if settings.only_obj_ptrs_in_the_past_for_eval and not training:
        pointers = [(distance, memory) for distance, memory in pointers if distance >= 0]
    if not settings.use_signed_tpos_enc_to_obj_ptrs:
        pointers = [(abs(distance), memory) for distance, memory in pointers]
    return pointers


def _recent_pointers(past: dict[int, FrameMemory], frame: int, reach: int, num_frames: int,
                     reverse: bool) -> list[tuple[int, FrameMemory]]:
    others = ((distance, frame + distance if reverse else frame - distance) for distance in range(1, reach + 1))
    return [(distance, past[other]) for distance, other in others if 0 <= other < num_frames and other in past]
