"""Global Context ViT (Hatamizadeh et al., ICML 2023) for images of any size, built from timm's modules.

timm's network has one input size. Here a map is padded to whole windows, and the global queries, which are pooled from
the map, are resized to one window; at timm's own size neither changes anything.
"""
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from maskforge.backbones.level_checks import check_levels
from maskforge.registry import MODELS, SCOPE

#: the input size that timm's windows and pooling depths belong to
NATIVE_SIZE = 224
STEM_STRIDE = 4


@dataclass(frozen=True)
class GCViTArch:
    """Width of the first stage, blocks and heads of each stage, width of the MLPs, start of the layer scales."""

    embed_dim: int = 64
    depths: tuple[int, ...] = (3, 4, 19, 5)
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    mlp_ratio: float | int = 3
    layer_scale: float | None = None


ARCHS = {
    'gc_vit_xxtiny': GCViTArch(depths=(2, 2, 6, 2)),
    'gc_vit_xtiny': GCViTArch(depths=(3, 4, 6, 5)),
    'gc_vit_tiny': GCViTArch(),
    'gc_vit_small': GCViTArch(embed_dim=96, num_heads=(3, 6, 12, 24), mlp_ratio=2, layer_scale=1e-5),
    'gc_vit_base': GCViTArch(embed_dim=128, num_heads=(4, 8, 16, 32), mlp_ratio=2, layer_scale=1e-5),
    'gc_vit_large': GCViTArch(embed_dim=192, num_heads=(6, 12, 24, 48), mlp_ratio=2, layer_scale=1e-5),
}


@MODELS.register_module()
class GCViT(BaseModule):
    """Image to levels of strides 4, 8, 16 and 32.

    The names of the tensors are timm's, so that its weights load: ``init_cfg=dict(type='Pretrained',
    checkpoint='timm://gcvit_tiny.in1k')`` (``large`` has none there).

    Args:
        arch: one of :data:`ARCHS`; ``embed_dim``, ``depths`` and ``num_heads`` replace its values one by one.
        out_indices: levels that are returned, in 0 .. 3.
        drop_path_rate: of the last block; grows linearly from 0.
        drop_rate, attn_drop_rate: after the projections, and on the attention's weights.
        frozen_stages: -1 trains everything; 0 freezes the stem; k also stages 1 .. k.
        with_cp: recompute blocks in the backward pass.

    Attributes:
        out_channels, strides: of the returned levels.

    Raises:
        ValueError: an unknown architecture, levels or stages that do not exist.
    """

    def __init__(self, arch: str = 'gc_vit_tiny', *, embed_dim: int | None = None, depths: Sequence[int] | None = None,
                 num_heads: Sequence[int] | None = None, out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float | int = 0., drop_rate: float | int = 0., attn_drop_rate: float | int = 0.,
                 frozen_stages: int = -1, with_cp: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        from timm.models.gcvit import GlobalContextVit
        settings = asdict(_arch(arch))
        given = dict(embed_dim=embed_dim, depths=depths, num_heads=num_heads)
        settings |= {name: value for name, value in given.items() if value is not None}
        stages = len(settings['depths'])
        check_levels('GCViT', out_indices, frozen_stages, stages)
        network = GlobalContextVit(img_size=NATIVE_SIZE, num_classes=0, drop_path_rate=drop_path_rate,
                                   proj_drop_rate=drop_rate, attn_drop_rate=attn_drop_rate, **settings)
        self.stem, self.stages = network.stem, network.stages[:max(out_indices) + 1]
        self.out_indices, self.frozen_stages, self.with_cp = tuple(out_indices), frozen_stages, with_cp
        self.out_channels = tuple(settings['embed_dim'] * 2**level for level in self.out_indices)
        self.strides = tuple(STEM_STRIDE * 2**level for level in self.out_indices)
        self._freeze()

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names; everything else was initialised with the module."""
        # MMEngine looks initialisers up in the current scope; outside a Runner there is none, and ours would be missed
        with DefaultScope.overwrite_default_scope(None if DefaultScope.get_current_instance() else SCOPE):
            super().init_weights()

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> tuple[Float[Tensor, 'B _ _ _'], ...]:
        """Return the levels of ``out_indices``; sides are divided by the stride, rounded up."""
        x = self.stem(images)
        levels = []
        for level, stage in enumerate(self.stages):
            x = self._run_stage(stage, x)
            if level in self.out_indices:
                levels.append(x)
        return tuple(levels)

    def train(self, mode: bool = True) -> 'GCViT':
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def _run_stage(self, stage: nn.Module, x: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B _ _ _']:
        x = stage.downsample(x)
        query = _fit(stage.global_block(x), stage.blocks[0].window_size)
        query = stage.global_norm(query.permute(0, 2, 3, 1))
        x = x.permute(0, 2, 3, 1)
        for block in stage.blocks:
            if self.with_cp and self.training and torch.is_grad_enabled():
                x = checkpoint(_run_block, block, x, query, use_reentrant=False)
            else:
                x = _run_block(block, x, query)
        return stage.norm(x).permute(0, 3, 1, 2).contiguous()

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.stem, *self.stages[:self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)


def _run_block(block: nn.Module, x: Float[Tensor, 'B H W C'], query: Tensor) -> Float[Tensor, 'B H W C']:
    """One block; odd ones attend with the global query of their image in the place of their own."""
    height, width = x.shape[1:3]
    window = block.window_size
    padded = F.pad(block.norm1(x), (0, 0, 0, -width % window[1], 0, -height % window[0]))
    attended = block._window_attn(padded, query)[:, :height, :width]
    x = x + block.drop_path1(block.ls1(attended))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


def _fit(query: Float[Tensor, 'B C H W'], window: tuple[int, int]) -> Float[Tensor, 'B C h w']:
    """Resize pooled features to one window; what has its size already stays as it is, to the bit."""
    return F.interpolate(query, size=tuple(window), mode='bilinear', align_corners=False)


def _arch(name: str) -> GCViTArch:
    if name not in ARCHS:
        raise ValueError(f"GCViT: arch='{name}' is not one of {', '.join(ARCHS)}.")
    return ARCHS[name]
