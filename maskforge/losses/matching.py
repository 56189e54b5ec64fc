"""One-to-one matching of predictions and targets (Carion et al., ECCV 2020, equation 1)."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from mmengine.logging import print_log
from scipy.optimize import linear_sum_assignment
from torch import Tensor

#: takes the place of a cost that is not finite: worse than any other, and sums of it stay exact
WORST = 1e9


class Matches(NamedTuple):
    """Matched pairs of all layers and images, one row each, by layer, then by image, then by target.

    Attributes:
        layers, images, queries: (M,) int64 indices.
        targets: (M,) int64 positions in the list of all images' targets, one image after another.
    """

    layers: Int[Tensor, ' M']
    images: Int[Tensor, ' M']
    queries: Int[Tensor, ' M']
    targets: Int[Tensor, ' M']


def match(costs: Mapping[str, Float[Tensor, 'N B Q T']], counts: Sequence[int], *, context: str = '',
          survive: bool = False) -> dict[str, Matches]:
    """Match every layer's and image's queries with that image's targets at the least total cost.

    All costs travel to the CPU in one copy, and the matches back in one. An image with more targets than queries leaves
    some targets unmatched.

    Args:
        costs: by the name of what predicts ('decoder', 'encoder'), of every query with the targets of its own image. T
            is the largest of ``counts``; what stands in the columns beyond an image's count does not matter. Layers
            and queries may be differently many by name.
        counts: targets of each image.
        context: what is being matched and when, for the message.
        survive: warn of costs that are not finite and match these queries last, instead of raising. The losses are
            then not finite either: it is for float16, whose loss scaler skips such a step.

    Raises:
        FloatingPointError: a cost is NaN or infinite: the predictions are. The message names layer and image.
    """
    found = {name: _match_one(name, cost, counts, context, survive) for name, cost in _on_host(costs).items()}
    device = next(iter(costs.values())).device
    lengths = [pairs.shape[1] for pairs in found.values()]
    pairs = torch.from_numpy(np.concatenate(list(found.values()), axis=1)).to(device, non_blocking=True)
    return {name: Matches(*part) for name, part in zip(found, pairs.split(lengths, dim=1))}


def _on_host(costs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    flat = torch.cat([cost.detach().float().flatten() for cost in costs.values()]).cpu()
    parts = flat.split([cost.numel() for cost in costs.values()])
    return {name: part.view(cost.shape).numpy() for part, (name, cost) in zip(parts, costs.items())}


def _match_one(name: str, cost: np.ndarray, counts: Sequence[int], context: str, survive: bool) -> np.ndarray:
    """Rows layer, image, query, target of the matches of one block of costs."""
    starts = np.cumsum([0, *counts])
    found = [np.zeros((4, 0), np.int64)]
    for layer, images in enumerate(cost):
        for image, count in enumerate(counts):
            block = images[image, :, :count]
            if not np.isfinite(block).all():
                message = _not_finite(f'{name} layer {layer}', image, block, context)
                if not survive:
                    raise FloatingPointError(message)
                print_log(message, 'current', 30)
                block = np.nan_to_num(block, nan=WORST, posinf=WORST, neginf=WORST)
            queries, targets = linear_sum_assignment(block)
            order = np.argsort(targets)
            fixed = np.broadcast_to([[layer], [image]], (2, len(queries)))
            found.append(np.concatenate([fixed, queries[None, order], starts[image] + targets[None, order]]))
    return np.concatenate(found, axis=1)


def _not_finite(layer: str, image: int, block: np.ndarray, context: str) -> str:
    bad = int((~np.isfinite(block)).any(1).sum())
    return (f'{context or "matching"}: the costs of {layer}, image {image} of the batch, are NaN or infinite for '
            f'{bad} of {len(block)} queries, so the predictions are. If it stays so, the weights have diverged: lower '
            f'the learning rate, clip gradients, or resume from a checkpoint before this iteration.')
