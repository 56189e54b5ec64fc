"""Low-rank changes in a file of weights."""
from collections.abc import Mapping

from torch import Tensor

LORA_NAMES = ('lora_down', 'lora_up', 'lora_scale')


def has_lora(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether low-rank changes are among the tensors."""
    return any(name.endswith(f'.{LORA_NAMES[0]}') for name in state_dict)


def merge_lora_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with the low-rank changes added, under the names of the model without them.

    ``X.weight + X.lora_scale * X.lora_up @ X.lora_down`` in float32, in the weight's own type; see
    :class:`maskforge.layers.lora.LoRALinear`.

    Raises:
        ValueError: a change is incomplete; what is missing is named.
    """
    merged = {name: tensor for name, tensor in state_dict.items() if name.rpartition('.')[2] not in LORA_NAMES}
    for name in state_dict:
        layer, _, last = name.rpartition('.')
        if last != LORA_NAMES[0]:
            continue
        missing = [part for part in (f'{layer}.{part}' for part in ('weight', *LORA_NAMES)) if part not in state_dict]
        if missing:
            raise ValueError(f'the low-rank change of {layer} is not complete: there is no {", ".join(missing)}.')
        down, up, scale = (state_dict[f'{layer}.{part}'].float() for part in LORA_NAMES)
        weight = state_dict[f'{layer}.weight']
        merged[f'{layer}.weight'] = (weight.float() + scale * (up @ down)).to(weight.dtype)
    return merged
