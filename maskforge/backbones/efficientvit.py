"""EfficientViT (Cai et al., ICCV 2023): convolutions and linear attention, built from timm's modules.

timm's network computes with other small numbers in its divisions than the original; here they are the original's, and
timm's can be chosen. Linear attention has no matrix of tokens by tokens, so large images are cheap.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from maskforge.backbones.level_checks import check_levels
from maskforge.backbones.recompute import recompute
from maskforge.registry import MODELS, SCOPE

STAGES = 4
STEM_STRIDE = 2


@dataclass(frozen=True)
class EfficientViTArch:
    """Widths and depths of the stem and the four stages, width of an attention head; ``large``: the L networks."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head_dim: int = 32
    large: bool = False


ARCHS = {
    'b0': EfficientViTArch((8, 16, 32, 64, 128), (1, 2, 2, 2, 2), head_dim=16),
    'b1': EfficientViTArch((16, 32, 64, 128, 256), (1, 2, 3, 3, 4), head_dim=16),
    'b2': EfficientViTArch((24, 48, 96, 192, 384), (1, 3, 4, 4, 6)),
    'b3': EfficientViTArch((32, 64, 128, 256, 512), (1, 4, 6, 6, 9)),
    'l0': EfficientViTArch((32, 64, 128, 256, 512), (1, 1, 1, 4, 4), large=True),
    'l1': EfficientViTArch((32, 64, 128, 256, 512), (1, 1, 1, 6, 6), large=True),
    'l2': EfficientViTArch((32, 64, 128, 256, 512), (1, 2, 2, 8, 8), large=True),
    'l3': EfficientViTArch((64, 128, 256, 512, 1024), (1, 2, 2, 8, 8), large=True),
}


@MODELS.register_module()
class EfficientViT(BaseModule):
    """Image to levels of strides 4, 8, 16 and 32.

    The names of the tensors are timm's, so that its weights load: ``init_cfg=dict(type='Pretrained',
    checkpoint='timm://efficientvit_b1.r224_in1k')`` (``l0`` has none there); files of the authors and of TAO load too.
    No tensor depends on the size of the images, so that there is no size of pre-training to state.

    Args:
        arch: 'b0' .. 'b3' or 'l0' .. 'l3'; ``widths``, ``depths`` (five values each, the stem's first) and
            ``head_dim`` replace its values one by one.
        attn_eps: added to the divisor of the attention; timm's networks have 1e-5. It is below what float16 can hold:
            the attention is computed in float32, also under autocast.
        norm_eps: of the batch norms. TAO's networks, and B in general, have 1e-5; the L weights of the authors and of
            timm were trained with 1e-7.
        out_indices: levels that are returned, in 0 .. 3; stages behind the last one are not built.
        frozen_stages: -1 trains everything; 0 freezes the stem; k also stages 1 .. k.
        norm_eval: keep batch statistics fixed while training.
        with_cp: recompute blocks in the backward pass; running statistics see every batch once all the same.

    Attributes:
        out_channels, strides: of the returned levels.

    Raises:
        ValueError: an unknown architecture, levels or stages that do not exist, widths that hold no attention head.
    """

    def __init__(self, arch: str = 'b0', *, widths: Sequence[int] | None = None, depths: Sequence[int] | None = None,
                 head_dim: int | None = None, attn_eps: float = 1e-15, norm_eps: float = 1e-5,
                 out_indices: Sequence[int] = (0, 1, 2, 3), frozen_stages: int = -1, norm_eval: bool = False,
                 with_cp: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        known = _arch(arch)
        widths, depths = tuple(widths or known.widths), tuple(depths or known.depths)
        check_levels('EfficientViT', out_indices, frozen_stages, STAGES)
        network = _network(widths, depths, head_dim or known.head_dim, known.large)
        self.stem, self.stages = network.stem, network.stages[:max(out_indices) + 1]
        _set_eps(self, attn_eps, norm_eps)
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        self.norm_eval, self.with_cp = norm_eval, with_cp
        self.out_channels = tuple(widths[level + 1] for level in self.out_indices)
        self.strides = tuple(STEM_STRIDE * 2**(level + 1) for level in self.out_indices)
        self._freeze()

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names; everything else was initialised with the module."""
        # MMEngine looks initialisers up in the current scope; outside a Runner there is none, and ours would be missed
        with DefaultScope.overwrite_default_scope(None if DefaultScope.get_current_instance() else SCOPE):
            super().init_weights()

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> tuple[Float[Tensor, 'B _ _ _'], ...]:
        """Return the levels of ``out_indices``; sides are divided by the stride, rounded up."""
        x = self._run(self.stem, images)
        levels = []
        for level, stage in enumerate(self.stages):
            x = self._run(stage.blocks, x)
            if level in self.out_indices:
                levels.append(x)
        return tuple(levels)

    def train(self, mode: bool = True) -> 'EfficientViT':
        """Switch the mode; frozen parts and, with ``norm_eval``, all batch norms stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _run(self, blocks: nn.Sequential, x: Tensor) -> Tensor:
        for block in blocks:
            again = self.with_cp and self.training and torch.is_grad_enabled()
            x = recompute(block, x) if again else block(x)
        return x

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.stem, *self.stages[:self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)


def _network(widths: tuple[int, ...], depths: tuple[int, ...], head_dim: int, large: bool) -> nn.Module:
    from timm.models import efficientvit_mit
    if len(widths) != STAGES + 1 or len(depths) != STAGES + 1:
        raise ValueError(f'EfficientViT: widths={widths} and depths={depths} must have {STAGES + 1} values each, for '
                         f'the stem and {STAGES} stages.')
    attending = widths[-1:] if large else widths[-2:]
    if any(width % head_dim for width in attending):
        raise ValueError(f'EfficientViT: the widths {attending} of the stages with attention must be multiples of '
                         f'head_dim={head_dim}.')
    network = efficientvit_mit.EfficientVitLarge if large else efficientvit_mit.EfficientVit
    # the classifier is not kept; it is built as small as it can be
    return network(widths=widths, depths=depths, head_dim=head_dim, head_widths=(1, 1), num_classes=0)


def _set_eps(model: nn.Module, attn_eps: float, norm_eps: float) -> None:
    from timm.models.efficientvit_mit import LiteMLA
    for module in model.modules():
        if isinstance(module, LiteMLA):
            module.eps = attn_eps
        elif isinstance(module, _BatchNorm):
            module.eps = norm_eps


def _arch(name: str) -> EfficientViTArch:
    if name not in ARCHS:
        raise ValueError(f"EfficientViT: arch='{name}' is not one of {', '.join(ARCHS)}.")
    return ARCHS[name]
