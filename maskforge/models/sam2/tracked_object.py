"""What a video session knows of one object."""
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.structures import MaskOutput, Prompts


class TrackedFrames:
    """The frames that an object was tracked on, as ranges, and in which direction last."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int, bool]] = []

    def add(self, frame: int, *, reverse: bool) -> None:
        """Note a frame."""
        for index in range(len(self._spans) - 1, -1, -1):
            first, last, direction = self._spans[index]
            if direction == reverse and first - 1 <= frame <= last + 1:
                del self._spans[index]
                self._spans.append((min(first, frame), max(last, frame), reverse))
                return
        self._spans.append((frame, frame, reverse))

    def __contains__(self, frame: int) -> bool:
        return any(first <= frame <= last for first, last, _ in self._spans)

    def reverse(self, frame: int) -> bool:
        """Whether the frame was last tracked backwards in time."""
        return next((direction for first, last, direction in reversed(self._spans) if first <= frame <= last), False)


@dataclass
class FrameMask:
    """Low-resolution logits (1, 1, 4h, 4w) and object score (probability) of one object on one frame."""

    logits: Float[Tensor, '1 1 _ _']
    score: float


@dataclass
class TrackedObject:
    """Memory, prompts and masks of one object.

    Attributes:
        bank: its memory, rows of one object.
        prompts: clicks and boxes by frame, in pixels of the network's input.
        masks: what was predicted for prompted frames and, as far as the history goes, for others.
        pending: outputs of prompted frames that are not in the memory yet, and whether they become conditioning ones.
        tracked: where it was tracked.
    """

    bank: MemoryBank
    prompts: dict[int, Prompts] = field(default_factory=dict)
    masks: dict[int, FrameMask] = field(default_factory=dict)
    pending: dict[int, tuple[MaskOutput, bool]] = field(default_factory=dict)
    tracked: TrackedFrames = field(default_factory=TrackedFrames)

    def prompted_frames(self) -> list[int]:
        """Conditioning frames, also those to come, rising."""
        return sorted({*self.bank.conditioning, *(frame for frame, (_, is_conditioning) in self.pending.items()
                                                 if is_conditioning)})

    def forget_masks(self, frame: int, *, history: int | None) -> None:
        """Drop the masks further than ``history`` frames away from ``frame``, but those of prompted frames."""
        if history is not None:
            kept = set(self.prompted_frames())
            self.masks = {place: mask for place, mask in self.masks.items()
                          if place in kept or abs(place - frame) <= history}
