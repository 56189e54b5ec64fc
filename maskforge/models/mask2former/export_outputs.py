"""What the modes promise, for a whole batch and with fixed shapes: the post-processing inside an exported file.

It follows :mod:`~maskforge.models.mask2former.postprocess`, in the frame of the input in place of the original image:
counts of pixels include padding. Loops over queries are written as tables of pairs of queries.

Legend: B images, Q queries, K classes, D instances, H W input pixels.
"""
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maskforge.models.mask2former.postprocess import PostprocessSettings


def semantic_outputs(class_logits: Float[Tensor, 'B Q K+1'], probs: Float[Tensor, 'B Q H W']) -> dict[str, Tensor]:
    """Return ``semantic_map`` (B, H, W) int32 class indices, and ``semantic_scores`` (B, H, W) of those classes."""
    shares = class_logits.softmax(-1)[..., :-1].transpose(1, 2)
    scores, labels = (shares @ probs.flatten(2)).max(1)
    size = probs[:, 0].shape
    return dict(semantic_map=labels.to(torch.int32).reshape(size), semantic_scores=scores.reshape(size))


def instance_outputs(class_logits: Float[Tensor, 'B Q K+1'], logits: Float[Tensor, 'B Q H W'],
                     probs: Float[Tensor, 'B Q H W'], settings: PostprocessSettings,
                     wanted: Bool[Tensor, ' K+1']) -> dict[str, Tensor]:
    """Return the best pairs of query and class, by falling score; a score of 0 marks an empty row.

    Args:
        wanted: classes that have instances.

    Returns:
        ``boxes`` (B, D, 4) xyxy tight around the masks, ``scores`` (B, D), ``labels`` (B, D) int64, ``masks``
        (B, D, H, W) uint8, 1 inside.
    """
    shares = class_logits.softmax(-1)[..., :-1]
    queries, classes = shares.shape[1:]
    count = min(settings.topk_per_image, queries * classes)
    best = shares.flatten(1).topk(count, dim=1)
    query = torch.div(best.indices, classes, rounding_mode='floor')
    labels = best.indices % classes
    inside = logits > 0
    pixels = _count(inside)
    quality = (probs * inside).sum((2, 3)) / (pixels + 1e-6)
    scores = best.values * quality.gather(1, query)
    kept = (pixels.gather(1, query) > 0) & wanted[labels] & (scores >= settings.score_threshold)
    final = torch.where(kept, scores, torch.zeros_like(scores)).topk(count, dim=1)
    query = query.gather(1, final.indices)
    # rows of the whole batch: an index per row, not one per pixel
    row = (query + queries * torch.arange(logits.shape[0], device=logits.device)[:, None]).flatten()
    masks = inside.to(torch.uint8).flatten(0, 1)[row].reshape(*query.shape, *logits.shape[2:])
    filled = final.values > 0
    boxes = (_boxes(logits) if settings.boxes_from_masks else logits.new_zeros(*logits.shape[:2], 4)).gather(
        1, query[..., None].expand(-1, -1, 4))
    return dict(boxes=boxes * filled[..., None], scores=final.values, labels=labels.gather(1, final.indices),
                masks=masks * filled[..., None, None].to(torch.uint8))


def panoptic_outputs(class_logits: Float[Tensor, 'B Q K+1'], probs: Float[Tensor, 'B Q H W'],
                     settings: PostprocessSettings, is_thing: Bool[Tensor, ' K+1']) -> dict[str, Tensor]:
    """Return the merged segments, numbered from 1 in the order of their (first) queries.

    Returns:
        ``panoptic_map`` (B, H, W) int32: 0 is void, k is segment k; ``segment_scores`` (B, Q) and ``segment_labels``
        (B, Q) int64: row k - 1 is segment k's, a score of 0 marks an empty row.
    """
    shares = class_logits.softmax(-1)
    scores, labels = (shares[..., :-1] if settings.keep_no_object else shares).max(-1)
    kept = (labels != shares.shape[-1] - 1) & (scores > settings.object_mask_threshold)
    # below zero, a query is behind all that are kept
    claims = torch.where(kept, scores, -torch.ones_like(scores))
    owners = (claims[..., None, None] * probs).argmax(1, keepdim=True)
    sure = probs >= 0.5
    won = owners == torch.arange(probs.shape[1], device=probs.device)[:, None, None]
    share = _count(won) / _count(sure).clamp(min=1)
    accepted = kept & (_count(won & sure) > 0) & (share >= settings.overlap_threshold)
    numbers, leads = _numbers(labels, accepted, ~is_thing[labels])
    sure_owner = probs.gather(1, owners)[:, 0] >= 0.5
    segment = numbers.gather(1, owners.flatten(1)).reshape(sure_owner.shape) * sure_owner
    members = (numbers[:, None] == torch.arange(1, probs.shape[1] + 1, device=probs.device)[:, None]).to(scores.dtype)
    first = (members * leads[:, None]).to(labels.dtype)
    return dict(panoptic_map=segment.to(torch.int32), segment_scores=(members * scores[:, None]).amax(-1),
                segment_labels=(first * labels[:, None]).sum(-1))


def _numbers(labels: Tensor, accepted: Bool[Tensor, 'B Q'], stuff: Bool[Tensor, 'B Q']) -> tuple[Tensor, Tensor]:
    """Return every query's segment number, 0 where it has none, and which queries are the first of their segment."""
    stuff = stuff & accepted
    one_segment = (labels[:, :, None] == labels[:, None]) & stuff[:, :, None] & stuff[:, None]
    place = torch.arange(labels.shape[1], device=labels.device)
    earlier = one_segment & (place[:, None] > place)
    leads = accepted & ~(earlier.to(torch.int32).amax(-1) > 0)
    number = leads.to(torch.int32).cumsum(1)
    of_leader = (one_segment | (place[:, None] == place)) & leads[:, None]
    return (of_leader.to(number.dtype) * number[:, None]).sum(-1), leads


def _count(mask: Bool[Tensor, 'B Q H W']) -> Float[Tensor, 'B Q']:
    """Return the number of pixels; exact below 2^24 of them."""
    return mask.sum((2, 3), dtype=torch.int32).float()


def _boxes(logits: Float[Tensor, 'B Q H W']) -> Float[Tensor, 'B Q 4']:
    """Return xyxy around the positive logits; meaningless for a mask without a pixel."""
    (left, right), (top, bottom) = (_extent(logits.amax(axis) > 0) for axis in (2, 3))
    return torch.stack((left, top, right, bottom), dim=-1)


def _extent(hit: Bool[Tensor, 'B Q N']) -> tuple[Float[Tensor, 'B Q'], Float[Tensor, 'B Q']]:
    """Return the first hit, and the place after the last."""
    place = torch.arange(hit.shape[-1], device=hit.device, dtype=torch.float32)
    back = place.flip(0) + 1
    return hit.shape[-1] - (hit * back).amax(-1), (hit * (place + 1)).amax(-1)
