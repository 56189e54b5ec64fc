"""Settings of the prompts that training simulates: the official release's names, values of its fine-tuning."""
from dataclasses import dataclass, fields

SAMPLINGS = ('uniform', 'center')
#: decoder passes, and what they are fed with, differ between training and evaluation in these settings
PER_PHASE = ('prob_to_use_pt_input', 'prob_to_use_box_input', 'num_init_cond_frames', 'rand_init_cond_frames',
             'num_frames_to_correct', 'rand_frames_to_correct')


@dataclass(frozen=True)
class PromptSettings:
    """How a clip's prompts are drawn (Ravi et al. 2024, section 5 and appendix D.2).

    "Eval" is the loss outside training (validation losses); predictions on videos and images have settings of their
    own. A clip of one frame (an image) always has one click or box, and corrections: its mask would be its solution.

    Attributes:
        prob_to_use_pt_input_for_train, prob_to_use_pt_input_for_eval: of points (clicks or boxes) in the place of
            true masks as initial prompts; one draw per batch.
        prob_to_use_box_input_for_train, prob_to_use_box_input_for_eval: of a box in the place of a click, where points
            are used; one draw per initial frame.
        prob_to_sample_from_gt_for_train: of a correcting click anywhere in the object in the place of one on an
            error; one draw per click.
        num_init_cond_frames_for_train, num_init_cond_frames_for_eval: frames with initial prompts; the first is one.
        rand_init_cond_frames_for_train, rand_init_cond_frames_for_eval: 1 up to that number instead.
        num_frames_to_correct_for_train, num_frames_to_correct_for_eval: frames with correcting clicks where points are
            used; the initial ones first.
        rand_frames_to_correct_for_train, rand_frames_to_correct_for_eval: as many as have initial prompts up to that
            number instead.
        add_all_frames_to_correct_as_cond: memories of corrected frames count as those of prompted ones.
        num_correction_pt_per_frame: correcting clicks, each with a pass of the decoder.
        pt_sampling_for_eval: 'uniform', anywhere on the error, as in training; 'center', where it is deepest.
        use_act_ckpt_iterative_pt_sampling: compute correcting passes with one mask again in the backward pass.
        forward_backbone_per_frame_for_eval: outside training, encode a frame when it is its turn.

    Raises:
        ValueError: settings that are out of range or contradict each other.
    """

    prob_to_use_pt_input_for_train: float | int = 0.5
    prob_to_use_pt_input_for_eval: float | int = 0.
    prob_to_use_box_input_for_train: float | int = 0.5
    prob_to_use_box_input_for_eval: float | int = 0.
    prob_to_sample_from_gt_for_train: float | int = 0.1
    num_init_cond_frames_for_train: int = 2
    num_init_cond_frames_for_eval: int = 1
    rand_init_cond_frames_for_train: bool = True
    rand_init_cond_frames_for_eval: bool = False
    num_frames_to_correct_for_train: int = 2
    num_frames_to_correct_for_eval: int = 1
    rand_frames_to_correct_for_train: bool = True
    rand_frames_to_correct_for_eval: bool = False
    add_all_frames_to_correct_as_cond: bool = True
    num_correction_pt_per_frame: int = 7
    pt_sampling_for_eval: str = 'center'
    use_act_ckpt_iterative_pt_sampling: bool = False
    forward_backbone_per_frame_for_eval: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.startswith('prob_') and not 0 <= value <= 1:
                raise ValueError(f'prompts.{field.name}={value} is a probability, in 0 .. 1.')
        for phase in ('train', 'eval'):
            initial, corrected = (f'{name}_for_{phase}' for name in ('num_init_cond_frames', 'num_frames_to_correct'))
            if getattr(self, initial) < 1:
                raise ValueError(f'prompts.{initial}={getattr(self, initial)} must be at least 1: the first frame '
                                 'always has a prompt.')
            if getattr(self, corrected) < getattr(self, initial):
                raise ValueError(f'prompts.{corrected}={getattr(self, corrected)} must be at least '
                                 f'prompts.{initial}={getattr(self, initial)}: frames with initial prompts are '
                                 'corrected first.')
        if self.num_correction_pt_per_frame < 0:
            raise ValueError(f'prompts.num_correction_pt_per_frame={self.num_correction_pt_per_frame} is negative; 0 '
                             'leaves the corrections out.')
        if self.pt_sampling_for_eval not in SAMPLINGS:
            raise ValueError(f"prompts.pt_sampling_for_eval={self.pt_sampling_for_eval!r} is not 'uniform' or "
                             "'center'.")

    def for_phase(self, training: bool) -> 'PhaseSettings':
        """Return what holds in training, or outside it."""
        phase = 'train' if training else 'eval'
        return PhaseSettings(
            **{name: getattr(self, f'{name}_for_{phase}') for name in PER_PHASE},
            prob_to_sample_from_gt=self.prob_to_sample_from_gt_for_train if training else 0.,
            sampling='uniform' if training else self.pt_sampling_for_eval,
            num_correction_pt_per_frame=self.num_correction_pt_per_frame)


@dataclass(frozen=True)
class PhaseSettings:
    """What holds in one phase; see :class:`PromptSettings`."""

    prob_to_use_pt_input: float | int
    prob_to_use_box_input: float | int
    prob_to_sample_from_gt: float | int
    num_init_cond_frames: int
    rand_init_cond_frames: bool
    num_frames_to_correct: int
    rand_frames_to_correct: bool
    num_correction_pt_per_frame: int
    sampling: str
