"""What losses on sets of predictions share: counting, naming and weighting the terms of all decoder layers."""
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from mmengine import MessageHub, dist
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from maskforge.ops.device_values import on_device


def average_count(count: int, like: Tensor) -> Float[Tensor, '']:
    """Return the mean over all processes of ``count`` (targets in the batch), at least 1; no transfer to the host.

    Without gradients it is this process's own count: validation losses are computed on shares of the data whose numbers
    of batches differ, so nobody may wait for another process there.
    """
    total = on_device(float(count), like.device, dtype=torch.float32)
    if dist.is_distributed() and torch.is_grad_enabled():
        dist.all_reduce(total)
        total = total / dist.get_world_size()
    return total.clamp(min=1)


def sum_by_layer(terms: Float[Tensor, ' M'], layers: Int[Tensor, ' M'], num_layers: int) -> Float[Tensor, ' N']:
    """Return the sum of the terms of each layer."""
    return terms.new_zeros(num_layers).index_add(0, layers, terms)


def name_layers(losses: Mapping[str, Float[Tensor, ' N']]) -> dict[str, Tensor]:
    """Return ``name`` for the last layer's value and ``name_0``, ``name_1`` ... for the earlier ones."""
    named = {}
    for name, values in losses.items():
        *earlier, last = values.unbind()
        named[name] = last
        named |= {f'{name}_{layer}': value for layer, value in enumerate(earlier)}
    return named


def padded_targets(targets: Sequence[Tensor]) -> Tensor:
    """Return the targets of all images in one tensor (B, T, ...); images with less than T end in zeros."""
    return pad_sequence(list(targets), batch_first=True)


def current_iteration() -> str:
    """``'iteration 17'`` inside a run, for messages; '' elsewhere."""
    number = MessageHub.get_current_instance().get_info('iter', None)
    return '' if number is None else f'iteration {number + 1}'


def overflow_is_expected(device: torch.device) -> bool:
    """Whether the run is in float16, where a loss that is not finite now and then is skipped by the loss scaler."""
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16


def check_labels(labels: Int[Tensor, ' T'], num_classes: int) -> None:
    """Raise ValueError for labels outside 0 .. ``num_classes`` - 1, where asking costs nothing."""
    # on a GPU this would wait for the device; the check of the data set's classes has been before
    if labels.device.type == 'cpu' and len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
        raise ValueError(f'labels from {labels.min()} to {labels.max()} do not fit num_classes={num_classes}; set '
                         f"model.num_classes to the data set's number of classes (the largest id + 1 with "
                         f"label_mode='category_id').")
