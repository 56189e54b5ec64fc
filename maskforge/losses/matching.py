"""One-to-one matching of predictions and targets (Carion et al., ECCV 2020, equation 1)."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Matches(NamedTuple):
    """Matched pairs of all layers and images, one row each, by layer and then by image.

    Attributes:
        layers, images, queries: (M,) int64 indices.
        targets: (M,) int64 positions in the list of all images' targets, one image after another.
    """

    layers: Int[Tensor, ' M']
    images: Int[Tensor, ' M']
    queries: Int[Tensor, ' M']
    targets: Int[Tensor, ' M']


def match(cost: Float[Tensor, 'N B Q T'], counts: Sequence[int], *, context: str = '') -> Matches:
    """Match every layer's and image's queries with that image's targets at the least total cost.

    The costs travel to the CPU in one copy. An image with more targets than queries leaves some targets unmatched.

    Args:
        cost: of every query with all targets of the batch; only the columns of its own image count.
        counts: targets of each image; they add up to T.
        context: what the costs belong to, for the message.

    Raises:
        FloatingPointError: a cost is NaN or infinite: the predictions are. The message names layer and image.
    """
    on_cpu = cost.detach().float().cpu().numpy()
    starts = np.concatenate([[0], np.cumsum(counts)])
    found: list[np.ndarray] = []
    for layer, images in enumerate(on_cpu):
        for image, rows in enumerate(images):
            block = rows[:, starts[image]:starts[image + 1]]
            if not np.isfinite(block).all():
                raise FloatingPointError(_not_finite(layer, image, block, context))
            queries, targets = linear_sum_assignment(block)
            order = np.argsort(targets, kind='stable')
            fixed = np.broadcast_to([[layer], [image]], (2, len(queries)))
            found.append(np.concatenate([fixed, queries[None, order], starts[image] + targets[None, order]]))
    pairs = np.concatenate(found, axis=1) if found else np.zeros((4, 0), np.int64)
    return Matches(*torch.from_numpy(pairs.astype(np.int64)).to(cost.device, non_blocking=True))


def _not_finite(layer: int, image: int, block: np.ndarray, context: str) -> str:
    bad = int((~np.isfinite(block)).any(1).sum())
    return (f'{context or "matching"}: the costs of decoder layer {layer}, image {image} of the batch, are NaN or '
            f'infinite for {bad} of {len(block)} queries, so the predictions are. The weights have diverged: lower the '
            f'learning rate, clip gradients, or resume from a checkpoint before this iteration.')
