"""Object pointers and the tokens that memory attention sees."""
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.layers.mlp import MLP
from maskforge.models.sam2.memory_bank import SelectedMemories
from maskforge.models.sam2.network_settings import NetworkSettings
from maskforge.models.sam2.position_encoding import distance_code
from maskforge.models.sam2.structures import FrameMemory
from maskforge.ops.device_values import on_device


def pointer_projection(settings: NetworkSettings) -> nn.Module:
    """Return the map from mask token to pointer."""
    width = settings.hidden_dim
    if not settings.use_obj_ptrs_in_encoder:
        return nn.Identity()
    return MLP(width, width, width, 3) if settings.use_mlp_for_obj_ptr_proj else nn.Linear(width, width)


def gated_pointers(pointers: Float[Tensor, 'N C'], visible: Float[Tensor, 'N 1'],
                   no_obj_ptr: Float[Tensor, '1 C'] | None, *, fixed: bool) -> Float[Tensor, 'N C']:
    """Return the pointers with the learnt one of absent objects mixed in.

    Args:
        visible: in 0 .. 1.
        no_obj_ptr: None leaves the pointers as they are.
        fixed: the object's own pointer goes as the other comes; False only adds.
    """
    if no_obj_ptr is None:
        return pointers
    return (visible * pointers if fixed else pointers) + (1 - visible) * no_obj_ptr


def spatial_tokens(chosen: Sequence[tuple[int, FrameMemory]], place_codes: Float[Tensor, 'T 1 1 D'],
                   like: Tensor) -> tuple[list[Float[Tensor, 'N S D']], list[Float[Tensor, '1 S D']]]:
    """Return the tokens of spatial memories and their position codes.

    Args:
        chosen: (place, memory) pairs.
        place_codes: of places in time; that of place 0 is the last, that of the frame before the first.
        like: memories are brought to its dtype.
    """
    tokens = [memory.spatial.flatten(2).transpose(1, 2).to(like.dtype) for _, memory in chosen]
    codes = [memory.position.flatten(2).transpose(1, 2) + place_codes[len(place_codes) - place - 1]
             for place, memory in chosen]
    return tokens, codes


def pointer_tokens(selected: SelectedMemories, settings: NetworkSettings, projection: nn.Module,
                   like: Tensor) -> tuple[list[Float[Tensor, 'N L D']], list[Float[Tensor, '1 L D']]]:
    """Return the tokens of pointers, several of D channels for one of C, and the codes of their distances in time."""
    if not selected.pointers:
        return [], []
    parts = settings.hidden_dim // settings.memory_dim
    pointers = torch.stack([memory.pointers for _, memory in selected.pointers], dim=1).to(like.dtype)
    tokens = pointers.unflatten(-1, (parts, settings.memory_dim)).flatten(1, 2)
    if not settings.add_tpos_enc_to_obj_ptrs:
        return [tokens], [tokens.new_zeros(1, *tokens.shape[1:])]
    distances = on_device([distance for distance, _ in selected.pointers], like.device, dtype=torch.float32)
    width = settings.hidden_dim if settings.proj_tpos_enc_in_obj_ptrs else settings.memory_dim
    codes = projection(distance_code(distances / selected.reach, width))
    return [tokens], [codes.repeat_interleave(parts, dim=0)[None]]
