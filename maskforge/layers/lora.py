"""Low-rank adaptation: fine-tuning by small additions to linear layers (Hu et al., 2021, arXiv 2106.09685)."""
import difflib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from mmengine.logging import print_log
from torch import Tensor, nn

from maskforge.checkpoints.lora_weights import merge_lora_weights
from maskforge.layers.name_patterns import name_matches
from maskforge.registry import MODELS


class LoRALinear(nn.Linear):
    """A linear layer ``y = W x + b + scale * up down x``, of which ``up`` and ``down`` are trained.

    ``weight`` and ``bias`` are the given layer's own, under the same names, so files of weights without the additions
    load as ever. ``up`` starts at zero: the output is the given layer's until the first step.

    Args:
        linear: the layer.
        rank: rows of ``down`` and columns of ``up``.
        alpha: ``scale = alpha / rank``.
        dropout: probability at which entries of the addition's input are dropped in training.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, dropout: float):
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device='meta')
        self.weight, self.bias = linear.weight, linear.bias
        like = dict(device=linear.weight.device, dtype=linear.weight.dtype)
        self.lora_down = nn.Parameter(torch.empty(rank, linear.in_features, **like))
        self.lora_up = nn.Parameter(torch.zeros(linear.out_features, rank, **like))
        self.register_buffer('lora_scale', torch.tensor(alpha / rank, **like))
        self.lora_dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))
        self.train(linear.training)

    def forward(self, input: Float[Tensor, '*batch In']) -> Float[Tensor, '*batch Out']:
        """The layer's output."""
        low = nn.functional.linear(self.lora_dropout(input), self.lora_down)
        return super().forward(input) + self.lora_scale.to(low.dtype) * nn.functional.linear(low, self.lora_up)


def add_lora(model: nn.Module, *, rank: int, targets: Sequence[str], alpha: float | None = None, dropout: float = 0.0,
             trainable: Sequence[str] = ()) -> list[str]:
    """Give linear layers low-rank additions, in place, and freeze everything else.

    Args:
        model: any model; names in its state dict stay, ``X.lora_down``, ``X.lora_up`` and ``X.lora_scale`` come.
        rank: of the additions, at least 1.
        targets: patterns of names of ``nn.Linear`` layers, see :func:`name_matches`.
        alpha: the additions are multiplied by ``alpha / rank``; ``rank`` by default.
        dropout: in [0, 1), of the additions' input.
        trainable: patterns of names of further parameters that are trained, such as ``'sam_mask_decoder.*'``.

    Returns:
        Names of the layers.

    Raises:
        ValueError: a number out of range; a pattern that nothing fits; a layer whose forward is never called.
    """
    if rank < 1 or not 0 <= dropout < 1:
        raise ValueError(f'lora needs rank >= 1 and dropout in [0, 1), got rank={rank} and dropout={dropout}.')
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    found = list(dict.fromkeys(name for pattern in targets for name in _fitting(pattern, layers, 'targets')))
    for name in found:
        _check_target(model, name, layers[name])
    kept = {name for pattern in trainable for name in _fitting(pattern, dict(model.named_parameters()), 'trainable')}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in kept)
    for name in found:
        model.set_submodule(name, LoRALinear(layers[name], rank=rank, dropout=dropout,
                                             alpha=rank if alpha is None else alpha))
    if not found and not kept:
        raise ValueError('lora needs targets, for example targets=["*.attn.qkv"].')
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in model.parameters())
    print_log(f'lora: {len(found)} layers of rank {rank}; {count:,} of {total:,} parameters are trained.', 'current')
    return found


def _fitting(pattern: str, known: Mapping[str, Any], setting: str) -> list[str]:
    names = [name for name in known if name_matches(name, [pattern])]
    if not names:
        near = difflib.get_close_matches(pattern.strip('*.'), known, n=3, cutoff=0.4) or list(known)[:3]
        what = 'linear layer' if setting == 'targets' else 'parameter'
        raise ValueError(f"lora.{setting}: no {what} fits '{pattern}'; near names: {', '.join(near) or 'none'}.")
    return names


def _check_target(model: nn.Module, name: str, layer: nn.Linear) -> None:
    parent = model.get_submodule(name.rpartition('.')[0])
    if isinstance(parent, nn.MultiheadAttention):
        raise ValueError(f'lora.targets: {name} is inside torch.nn.MultiheadAttention, which reads its weight without '
                         'calling it; an addition would have no effect. Choose other layers.')
    if isinstance(layer, LoRALinear):
        raise ValueError(f'lora.targets: {name} has a low-rank addition already.')


def merge_lora(model: nn.Module) -> nn.Module:
    """Put the additions into the weights, in place; the layers are plain ``nn.Linear`` again, parameters frozen as
    they were. For inference and export, which then cost what they cost without."""
    for name, module in list(model.named_modules()):
        if not isinstance(module, LoRALinear):
            continue
        plain = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None, device='meta')
        weights = merge_lora_weights({f'x.{key}': value for key, value in module.state_dict().items()})
        plain.weight = nn.Parameter(weights['x.weight'], requires_grad=module.weight.requires_grad)
        plain.bias = module.bias
        model.set_submodule(name, plain.train(module.training))
    return model


def build_model(cfg: Mapping[str, Any], **defaults: Any) -> nn.Module:
    """Build a model from MODELS; ``lora=dict(...)`` in its config are the arguments of :func:`add_lora`.

    So every model class can be adapted, whatever arguments it has.
    """
    cfg = dict(cfg)
    lora = cfg.pop('lora', None) if not _accepts(cfg.get('type'), 'lora') else None
    model = MODELS.build(cfg, **defaults)
    if lora is not None:
        add_lora(model, **lora)
    return model


def _accepts(kind: Any, name: str) -> bool:
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    return cls is not None and name in inspect.signature(cls).parameters
