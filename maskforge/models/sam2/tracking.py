"""One frame of tracking: conditioned on the memories, decoded, remembered."""
from jaxtyping import Float
from torch import Tensor

from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.structures import FrameMemory, ImageFeatures, MaskOutput, Prompts


def track_frame(network: SAM2Network, features: ImageFeatures, bank: MemoryBank, frame: int, *, num_frames: int,
                initial: bool, prompts: Prompts | None = None, masks: Float[Tensor, 'N 1 H W'] | None = None,
                reverse: bool = False) -> MaskOutput:
    """Return what the decoder says about N objects on one frame; the memory is not written.

    Args:
        features: of the frame, raw, a row per object (``image_features[index]``), or one for all of the bank's.
        bank: the objects' memories; an initial frame does not look at them.
        num_frames: of the clip or video.
        initial: the frame is one of those that prompts were given for before anything was tracked.
        prompts: clicks, boxes, or earlier logits.
        masks: mask prompts at the input's size, 1 inside; not together with ``prompts``.
        reverse: the video is tracked towards its beginning.

    Raises:
        ValueError: both prompts and masks.
    """
    if masks is not None and prompts is not None:
        raise ValueError('A frame takes prompts (points, boxes, logits) or mask prompts, not both.')
    if masks is not None and network.settings.use_mask_input_as_output_without_sam:
        return network.use_mask(features, masks)
    if masks is not None:
        prompts = Prompts(masks=network.dense_prompt(masks))
    s16 = network.condition(features.s16, bank, frame, num_frames=num_frames, initial=initial, reverse=reverse)
    return network.sam_heads(features.with_s16(s16), prompts or Prompts(),
                             multimask=network.wants_multimask(prompts, initial=initial))


def remember_frame(network: SAM2Network, features: ImageFeatures, output: MaskOutput, bank: MemoryBank, frame: int, *,
                   conditioning: bool, from_points: bool) -> FrameMemory:
    """Encode what was decided on a frame, store it in the bank and return it.

    Args:
        features: of the frame, raw, a row per object, or one for all.
        output: of :func:`track_frame` or of the last correction.
        conditioning: keep it among the conditioning frames.
        from_points: the mask comes from clicks or a box: ``binarize_mask_from_pts_for_mem_enc`` is about it.
    """
    binarize = from_points and network.settings.binarize_mask_from_pts_for_mem_enc and not network.training
    spatial, position = network.encode_memory(features.s16, output.masks_high, output.object_scores, binarize=binarize)
    memory = FrameMemory(spatial, position, output.pointers)
    bank.store(frame, memory, conditioning=conditioning)
    return memory
