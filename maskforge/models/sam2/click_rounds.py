"""Objects of an image segmented by a simulated user's clicks, one more per round.

Legend: N objects, H W pixels of the image, k clicks.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

from maskforge.models.sam2.center_click import center_click
from maskforge.models.sam2.image_predictor import ImagePredictor
from maskforge.models.sam2.prompt_predictor import LOGIT_LIMIT
from maskforge.models.sam2.structures import Prompts
from maskforge.structures import InstanceMasks


def segment_by_clicks(predictor: ImagePredictor, truth: InstanceMasks, *,
                      clicks: Sequence[int] = (1, 3, 5)) -> dict[int, InstanceMasks]:
    """Return the masks after some numbers of clicks.

    The first click is in the middle of the object, every further one in the middle of the largest error; from the
    second on, the earlier mask is a prompt too. One click gives the best of three masks, more give one.

    Args:
        predictor: with one image set.
        truth: the objects, in the frame of the original image.
        clicks: rising numbers from 1 on.
    """
    rounds: dict[int, list[InstanceMasks]] = {count: [] for count in clicks}
    size = predictor.objects_per_batch
    for start in range(0, len(truth), size):
        for count, masks in _click(predictor, truth[start:start + size], clicks).items():
            rounds[count].append(masks)
    none = InstanceMasks([], truth.height, truth.width)
    return {count: InstanceMasks.cat(parts) if parts else none for count, parts in rounds.items()}


def _click(predictor: ImagePredictor, truth: InstanceMasks, clicks: Sequence[int]) -> dict[int, InstanceMasks]:
    bitmaps = truth.to_bitmaps()
    found, kept, prompts = [None] * len(bitmaps), {}, Prompts()
    for count in range(1, max(clicks) + 1):
        drawn = torch.tensor([center_click(*pair) for pair in zip(bitmaps, found)], device=predictor.device)[:, None]
        points = predictor.scaling.points(drawn[..., :2], predictor.sizes[0])
        prompts = prompts.add_points(points, drawn[..., 2].long())
        low = _best(*predictor.decode(prompts, multimask=predictor.network.wants_multimask(prompts, initial=True)))
        masks = predictor.at_original_size(low)[:, 0] > predictor.mask_threshold
        prompts, found = prompts.with_masks(low.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)), masks.cpu().numpy()
        if count in clicks:
            kept[count] = InstanceMasks.from_bitmaps(found)
    return kept


def _best(low: Tensor, ious: Tensor) -> Tensor:
    """(N, 1, h, w), the mask of the highest predicted IoU."""
    return low[torch.arange(len(low), device=low.device), ious.argmax(1)][:, None]
