"""A simulated user prompts and corrects a clip: every pass of the decoder, in the order of a :class:`PromptPlan`.

Legend: N objects (rows of everything), T frames, H W pixels of the network's input.
"""
from collections.abc import Callable, Generator, Iterator

from jaxtyping import Bool
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from maskforge.models.sam2.click_sampling import sample_box, sample_click
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.prompt_plan import ClickNoise, PromptPlan
from maskforge.models.sam2.prompt_settings import PromptSettings
from maskforge.models.sam2.structures import ImageFeatures, MaskOutput, Prompts
from maskforge.models.sam2.tracking import remember_frame, track_frame

Truth = Bool[Tensor, 'N 1 H W']
Passes = Generator[tuple[int, MaskOutput], None, MaskOutput]


class PromptSimulation:
    """What a plan makes of clips.

    Gradients go through everything: memories, and the logits that a correction starts from.

    Args:
        network: its mode (training or not) decides what memories are looked at, and where clicks are put.
        plan: of the clips.
        settings: of the prompts.
        recompute: compute every pass of the decoder again in the backward pass.
    """

    def __init__(self, network: SAM2Network, plan: PromptPlan, settings: PromptSettings, *,
                 recompute: bool = False) -> None:
        self.network, self.plan, self.settings, self.recompute = network, plan, settings, recompute
        self.sampling = settings.for_phase(network.training).sampling

    def run(self, features: Callable[[int], ImageFeatures], truth: Bool[Tensor, 'T N 1 H W'],
            noise: ClickNoise) -> Iterator[tuple[int, MaskOutput]]:
        """Yield frame and output of every pass; the last of a frame is what memory keeps of it.

        Args:
            features: gives those of a frame, raw, a row per object.
            noise: of the N objects.
        """
        bank, order = MemoryBank(), self.plan.order
        for frame in order:
            own = features(frame)
            output = yield from self._frame(frame, own, truth[frame], bank, noise)
            if frame != order[-1]:  # nobody would look at it
                remember_frame(self.network, own, output, bank, frame, conditioning=self._is_conditioning(frame),
                               from_points=frame in self.plan.corrected)

    def is_mask_prompt(self, frame: int) -> bool:
        """Whether the frame's only output is the true mask itself, without a gradient."""
        return (frame in self.plan.initial and not self.plan.use_points
                and self.network.settings.use_mask_input_as_output_without_sam)

    def _is_conditioning(self, frame: int) -> bool:
        return frame in self.plan.initial or (
            self.settings.add_all_frames_to_correct_as_cond and frame in self.plan.corrected)

    def _frame(self, frame: int, features: ImageFeatures, truth: Truth, bank: MemoryBank, noise: ClickNoise) -> Passes:
        initial, length = frame in self.plan.initial, self.plan.num_frames
        if initial and not self.plan.use_points:
            output = track_frame(self.network, features, bank, frame, num_frames=length, initial=True,
                                 masks=truth.float())
            yield frame, output
            return output
        prompts = self._first_prompt(frame, truth, noise) if initial else None
        s16 = self.network.condition(features.s16, bank, frame, num_frames=length, initial=initial)
        features = features.with_s16(s16)
        output = self._decode(features, prompts or Prompts(), initial=initial)
        yield frame, output
        for number, from_truth in enumerate(self.plan.from_truth.get(frame, ())):
            drawn = noise.corrections[self.plan.corrected.index(frame), number]
            click = sample_click(truth, None if from_truth else output.masks_high > 0, drawn, sampling=self.sampling)
            prompts = (prompts or Prompts()).add_points(*click).with_masks(output.masks_low)
            output = self._decode(features, prompts, initial=initial, correcting=True)
            yield frame, output
        return output

    def _first_prompt(self, frame: int, truth: Truth, noise: ClickNoise) -> Prompts:
        place = self.plan.initial.index(frame)
        drawn = noise.initial[place]
        if self.plan.boxes[place]:
            return Prompts(*sample_box(truth, drawn))
        return Prompts(*sample_click(truth, None, drawn[0], sampling=self.sampling))

    def _decode(self, features: ImageFeatures, prompts: Prompts, *, initial: bool,
                correcting: bool = False) -> MaskOutput:
        multimask = self.network.wants_multimask(prompts, initial=initial)
        single_correction = correcting and not multimask and self.settings.use_act_ckpt_iterative_pt_sampling
        if self.network.training and (self.recompute or single_correction):
            return checkpoint(self.network.sam_heads, features, prompts, multimask=multimask, use_reentrant=False,
                              preserve_rng_state=False)  # the decoder has no dropout
        return self.network.sam_heads(features, prompts, multimask=multimask)
