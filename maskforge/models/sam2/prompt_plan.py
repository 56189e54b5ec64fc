"""Which frames of a clip get which prompts: one draw for all objects of a batch, and for all processes."""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maskforge.models.sam2.prompt_settings import PhaseSettings

#: numbers that an initial prompt is drawn with: a box's four sides; a click takes the first
PER_PROMPT = 4


@dataclass(frozen=True)
class PromptPlan:
    """What happens on the frames of one clip.

    Attributes:
        num_frames: T.
        use_points: initial prompts are clicks or boxes, not masks.
        initial: frames with initial prompts, in the order in which they were drawn; the first frame leads.
        boxes: of each of them, whether it gets a box rather than a click.
        corrected: frames with correcting clicks.
        from_truth: of each corrected frame, whether the k-th click is drawn from the object rather than the error.
    """

    num_frames: int
    use_points: bool
    initial: tuple[int, ...]
    boxes: tuple[bool, ...]
    corrected: tuple[int, ...]
    from_truth: dict[int, tuple[bool, ...]]

    @property
    def order(self) -> tuple[int, ...]:
        """Frames as they are processed: those with initial prompts, then the others as they follow each other."""
        return self.initial + tuple(frame for frame in range(self.num_frames) if frame not in self.initial)

    @property
    def gives_gradients(self) -> bool:
        """Whether anything is decoded: a true mask as prompt is its frame's output."""
        return self.use_points or len(self.initial) < self.num_frames


def draw_plan(generator: np.random.Generator, settings: PhaseSettings, num_frames: int) -> PromptPlan:
    """Draw a clip's prompts; the order of draws is the official implementation's.

    Points or masks; number of initial frames; number of corrected frames; which initial frames; a box for each of
    them; which further corrected frames; for every click, in the order of processing, whether it is from the truth.

    Raises:
        ValueError: the clip is shorter than the settings ask for.
    """
    if num_frames == 1:
        settings = _of_an_image(settings)
    _check_length(settings, num_frames)
    use_points = bool(generator.random() < settings.prob_to_use_pt_input)
    count, most = settings.num_init_cond_frames, settings.num_frames_to_correct
    if settings.rand_init_cond_frames and count > 1:
        count = int(generator.integers(1, count, endpoint=True))
    if use_points and settings.rand_frames_to_correct and most > count:
        most = int(generator.integers(count, most, endpoint=True))
    initial = (0, *(_choice(generator, range(1, num_frames), count - 1) if count > 1 else ()))
    boxes = tuple(bool(generator.random() < settings.prob_to_use_box_input) for _ in initial if use_points)
    corrected = initial if use_points else ()
    if use_points and most > count:
        others = [frame for frame in range(num_frames) if frame not in initial]
        corrected += _choice(generator, others, most - count)
    plan = PromptPlan(num_frames, use_points, initial, boxes, corrected, {})
    for frame in plan.order:
        if frame in corrected:
            plan.from_truth[frame] = _sources(generator, settings)
    return plan


def _of_an_image(settings: PhaseSettings) -> PhaseSettings:
    return replace(settings, prob_to_use_pt_input=1., num_init_cond_frames=1, num_frames_to_correct=1)


def _check_length(settings: PhaseSettings, num_frames: int) -> None:
    for name in ('num_init_cond_frames', 'num_frames_to_correct'):
        if getattr(settings, name) > num_frames:
            raise ValueError(f'A clip has {num_frames} frames, and prompts.{name}_for_train (or _for_eval) asks for '
                             f'{getattr(settings, name)}: lower it, or take longer clips.')


def _choice(generator: np.random.Generator, frames: Sequence[int], count: int) -> tuple[int, ...]:
    return tuple(generator.choice(list(frames), count, replace=False).tolist())


def _sources(generator: np.random.Generator, settings: PhaseSettings) -> tuple[bool, ...]:
    chance, count = settings.prob_to_sample_from_gt, settings.num_correction_pt_per_frame
    return tuple(bool(chance > 0 and generator.random() < chance) for _ in range(count))


@dataclass
class ClickNoise:
    """Numbers in [0, 1) that places are drawn with, for N objects; drawn before the objects are cut into chunks.

    Attributes:
        initial: by initial frame; a click takes the first of the four.
        corrections: by corrected frame and click.
    """

    initial: Float[Tensor, 'F 4 N']
    corrections: Float[Tensor, 'G K N']

    def __getitem__(self, rows: slice) -> 'ClickNoise':
        """Return those of some objects."""
        return ClickNoise(self.initial[..., rows], self.corrections[..., rows])


def draw_noise(plan: PromptPlan, num_objects: int, settings: PhaseSettings, device: torch.device) -> ClickNoise:
    """Draw from torch's generator of the CPU, whose state is in checkpoints."""
    initial = torch.rand(len(plan.initial), PER_PROMPT, num_objects, dtype=torch.float64)
    clicks = torch.rand(len(plan.corrected), settings.num_correction_pt_per_frame, num_objects, dtype=torch.float64)
    return ClickNoise(initial.to(device, non_blocking=True), clicks.to(device, non_blocking=True))
