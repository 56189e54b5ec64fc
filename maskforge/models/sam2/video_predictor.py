"""``VideoPredictor``: objects followed through videos, and videos with the masks of their first frames."""
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from maskforge.models.sam2.frame_source import FrameSource
from maskforge.models.sam2.input_scaling import IMAGENET_MEAN, IMAGENET_STD, InputScaling
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.video_session import SessionSettings, VideoSession
from maskforge.structures import ClipSample


class VideoPredictor:
    """Opens videos for one network.

    Objects do not influence one another but through ``non_overlap_masks``: a run with many gives each the masks of a
    run of its own.

    Args:
        network: is put into evaluation mode; frames go to its device.
        mean, std: normalisation, RGB.
        objects_per_batch: objects that go through memory attention and decoder at once.
        mask_threshold: a pixel whose logit is above is inside.
        score_threshold: an object whose probability to be seen is below has an empty mask. At 0 the network's own gate
            decides, which closes at one half.
        non_overlap_masks: a pixel belongs to one object at most.
        fill_hole_area: holes of at most so many pixels, of a quarter of the input's resolution, are filled.
        dynamic_multimask, stability_delta, stability_threshold: as of :class:`ImagePredictor`.
        binarize_prompted: prompted frames enter the memory with hard masks; None follows the network's
            ``binarize_mask_from_pts_for_mem_enc``. The released predictor with its post-processing is
            ``dynamic_multimask=True, binarize_prompted=True, fill_hole_area=8``.
        corrected_as_conditioning: frames that are corrected after they were tracked become conditioning frames.
        clear_non_cond_mem_around_input: when a conditioning frame is tracked, forget the memory of the ``num_maskmem``
            tracked frames on either side of it, which may still show what a prompt there put right.
        history: frames behind the present one whose memory and masks stay, for corrections there; None keeps all,
            which grows with the video. At 0 a correction further back sees the memory of prompted frames only.
        memory_dtype: the memory is kept in it ('bfloat16' halves it); None as computed.
        memory_device: the memory is kept there, for example 'cpu'; None where the network is.

    Raises:
        ValueError: a setting that does not exist or does not fit.
    """

    def __init__(self, network: SAM2Network, *, mean: Sequence[float] = IMAGENET_MEAN,
                 std: Sequence[float] = IMAGENET_STD, objects_per_batch: int = 16, mask_threshold: float | int = 0.,
                 score_threshold: float | int = 0., non_overlap_masks: bool = False, fill_hole_area: int | float = 0,
                 dynamic_multimask: bool | None = None, stability_delta: float | int | None = None,
                 stability_threshold: float | int | None = None, binarize_prompted: bool | None = None,
                 corrected_as_conditioning: bool = True, clear_non_cond_mem_around_input: bool = False,
                 history: int | None = 0,
                 memory_dtype: str | torch.dtype | None = None,
                 memory_device: str | torch.device | None = None) -> None:
        self.network = network.eval()
        self.scaling = InputScaling(network.image_size, mean=mean, std=std)
        self.settings = SessionSettings(
            objects_per_batch=objects_per_batch, mask_threshold=mask_threshold, score_threshold=score_threshold,
            non_overlap_masks=non_overlap_masks, fill_hole_area=fill_hole_area, dynamic_multimask=dynamic_multimask,
            stability_delta=stability_delta, stability_threshold=stability_threshold,
            binarize_prompted=binarize_prompted, corrected_as_conditioning=corrected_as_conditioning,
            clear_non_cond_mem_around_input=clear_non_cond_mem_around_input, history=history,
            memory_dtype=memory_dtype, memory_device=memory_device)

    def open(self, frames: Sequence | Iterable) -> VideoSession:
        """Start with a video.

        Args:
            frames: :class:`~maskforge.structures.VideoFrames`, a sequence of (H, W, 3) uint8 BGR arrays or (3, H, W)
                tensors, or an iterator of them, which is read forward only.

        Raises:
            ValueError: no frames.
        """
        return VideoSession(self.network, FrameSource(frames, self.network, self.scaling), self.settings)


def segment_video(network: SAM2Network, item: dict[str, Any], *, later_objects: bool = True,
                  use_all_masks: bool = False, non_overlap_masks: bool = True, **settings: Any) -> ClipSample:
    """Follow the objects of a video from their true masks (semi-supervised video object segmentation).

    One pass: an object joins on the first annotated frame that shows it. As objects do not see one another, this gives
    the same masks as a pass per object from its own first mask.

    Args:
        item: ``inputs``, the :class:`~maskforge.structures.VideoFrames`, and ``data_samples``, a ``ClipSample`` with
            ``gt_frames``.
        later_objects: also follow objects that the first annotated frame does not show.
        use_all_masks: give the network the true masks of every annotated frame, not only each object's first.
        non_overlap_masks, settings: of :class:`VideoPredictor`.

    Returns:
        The sample with ``pred_masks`` (object id -> RLE per frame at ``ori_shape``, None before it joins) and
        ``pred_scores`` (0 before it joins).

    Raises:
        ValueError: no annotated frame shows an object.
    """
    sample, truth = item['data_samples'], item['data_samples'].gt_frames
    session = VideoPredictor(network, non_overlap_masks=non_overlap_masks, **settings).open(item['inputs'])
    waiting = set(truth.object_ids)
    if not waiting:
        raise ValueError(f'video {sample.metainfo.get("video_name")!r}: its annotations show no object to follow.')
    length = len(item['inputs'])
    masks: dict[Any, list] = {number: [None] * length for number in sorted(waiting)}
    scores: dict[Any, list[float]] = {number: [0.] * length for number in masks}
    for frame in range(length):
        if frame in truth and (waiting or use_all_masks):
            _give_masks(session, truth[frame], frame, waiting, use_all_masks=use_all_masks)
            if session.object_ids and not later_objects:
                waiting = set()
        result = session.track(frame)
        for number, rle, score in zip(result.object_ids, result.instance_masks().to_rles(), result.scores.tolist()):
            masks[number][frame], scores[number][frame] = rle, score
    sample.pred_masks, sample.pred_scores = masks, scores
    return sample


def _give_masks(session: VideoSession, masks: dict, frame: int, waiting: set, *, use_all_masks: bool) -> None:
    for number, mask in masks.items():
        if (number in waiting and mask.any()) or (use_all_masks and number in session.object_ids):
            session.add_mask(frame, number, mask)
            waiting.discard(number)

