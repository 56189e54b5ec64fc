"""Swin Transformer (Liu et al., ICCV 2021) as detection and segmentation use it, built from timm's modules.

timm's own network rolls a map before it pads it, and drops the shift where a map is no larger than a window: both are
harmless in classification and change the features of images whose levels are no multiple of the window. Here a map is
padded first and always shifted, as in the detectors that public weights come from.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from maskforge.backbones.level_checks import check_levels
from maskforge.backbones.swin_windows import attend_in_windows
from maskforge.layers.linear import Linear, activated
from maskforge.ops.exporting import is_recorded
from maskforge.registry import MODELS, SCOPE

PATCH = 4


@dataclass(frozen=True)
class SwinArch:
    """Width of the first stage, blocks and heads of each stage, and the window of the public weights."""

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int = 7


ARCHS = {
    'tiny': SwinArch(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    'small': SwinArch(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    'base': SwinArch(128, (2, 2, 18, 2), (4, 8, 16, 32), window_size=12),
    'large': SwinArch(192, (2, 2, 18, 2), (6, 12, 24, 48), window_size=12),
    # width and depths of Swin V2's "H" (Liu et al., CVPR 2022, section 4.1); there are no public weights of version 1
    'huge': SwinArch(352, (2, 2, 18, 2), (11, 22, 44, 88), window_size=12),
}


@MODELS.register_module()
class SwinTransformer(BaseModule):
    """Image to levels of strides 4, 8, 16 and 32, each behind a LayerNorm of its own.

    The names of the tensors are timm's, so that its weights load (``init_cfg=dict(type='Pretrained',
    checkpoint='timm://swin_tiny_patch4_window7_224.ms_in1k')``); ``norm0`` .. ``norm3`` start as they are. Files of the
    authors, MMDetection and Hugging Face load as well (:mod:`~maskforge.backbones.swin_weights`), and position tables
    of another window are resized.

    Args:
        arch: 'tiny', 'small', 'base', 'large' or 'huge'; ``embed_dims``, ``depths`` and ``num_heads`` replace its
            values one by one.
        window_size: side of a window in tokens; the architecture's by default.
        mlp_ratio, qkv_bias, patch_norm: as in the paper.
        drop_rate, attn_drop_rate, drop_path_rate: the last grows linearly from 0 at the first block.
        ape: add an absolute position embedding, learnt at ``pretrain_img_size`` pixels and resized to the image.
        pretrain_img_size: side of the images that ``ape`` belongs to; no effect without it.
        out_indices: levels that are returned, in 0 .. 3.
        frozen_stages: -1 trains everything; 0 freezes the patch embedding; k also stages 1 .. k.
        with_cp: recompute blocks in the backward pass.

    Attributes:
        out_channels, strides: of the returned levels.

    Raises:
        ValueError: an unknown architecture, levels or stages that do not exist.
    """

    def __init__(self, arch: str = 'tiny', *, embed_dims: int | None = None, depths: Sequence[int] | None = None,
                 num_heads: Sequence[int] | None = None, window_size: int | None = None, mlp_ratio: float | int = 4.,
                 qkv_bias: bool = True, patch_norm: bool = True, drop_rate: float | int = 0.,
                 attn_drop_rate: float | int = 0., drop_path_rate: float | int = 0.3, ape: bool = False,
                 pretrain_img_size: int = 224, out_indices: Sequence[int] = (0, 1, 2, 3), frozen_stages: int = -1,
                 with_cp: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        from timm.models.swin_transformer import SwinTransformer as TimmSwin
        known = _arch(arch)
        width, depths = embed_dims or known.embed_dims, tuple(depths or known.depths)
        check_levels('SwinTransformer', out_indices, frozen_stages, len(depths))
        network = TimmSwin(
            img_size=224, patch_size=PATCH, num_classes=0, embed_dim=width, depths=depths,
            num_heads=tuple(num_heads or known.num_heads), window_size=window_size or known.window_size,
            always_partition=True, dynamic_img_size=True, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias,
            proj_drop_rate=drop_rate, attn_drop_rate=attn_drop_rate, drop_path_rate=drop_path_rate)
        self.patch_embed, self.layers = network.patch_embed, network.layers
        _use_our_linear_maps(self.layers)
        if not patch_norm:
            self.patch_embed.norm = nn.Identity()
        self.pos_drop = nn.Dropout(drop_rate)
        self.absolute_pos_embed = None
        if ape:
            side = pretrain_img_size // PATCH
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, width, side, side))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.out_indices, self.frozen_stages, self.with_cp = tuple(out_indices), frozen_stages, with_cp
        widths = [width * 2**level for level in range(len(depths))]
        for level in self.out_indices:
            self.add_module(f'norm{level}', nn.LayerNorm(widths[level]))
        self.out_channels = tuple(widths[level] for level in self.out_indices)
        self.strides = tuple(PATCH * 2**level for level in self.out_indices)
        self._freeze()

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names; everything else was initialised with the module."""
        # MMEngine looks initialisers up in the current scope; outside a Runner there is none, and ours would be missed
        with DefaultScope.overwrite_default_scope(None if DefaultScope.get_current_instance() else SCOPE):
            super().init_weights()

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> tuple[Float[Tensor, 'B _ _ _'], ...]:
        """Return the levels of ``out_indices``; sides are divided by the stride, rounded up."""
        height, width = images.shape[-2:]
        x = self.patch_embed(F.pad(images, (0, -width % PATCH, 0, -height % PATCH)))
        if self.absolute_pos_embed is not None:
            position = F.interpolate(self.absolute_pos_embed, size=x.shape[1:3], mode='bicubic', align_corners=False)
            x = x + position.permute(0, 2, 3, 1)
        x = self.pos_drop(x)
        levels = []
        for level, stage in enumerate(self.layers):
            x = self._run_stage(stage, x)
            if level in self.out_indices:
                levels.append(getattr(self, f'norm{level}')(x).permute(0, 3, 1, 2).contiguous())
        return tuple(levels)

    def train(self, mode: bool = True) -> 'SwinTransformer':
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def _run_stage(self, stage: nn.Module, x: Float[Tensor, 'B H W C']) -> Float[Tensor, 'B _ _ _']:
        x = stage.downsample(x)
        attend = _attention_of(stage.blocks, x)
        for block in stage.blocks:
            if self.with_cp and self.training and torch.is_grad_enabled():
                x = checkpoint(_run_block, block, x, attend, use_reentrant=False)
            else:
                x = _run_block(block, x, attend)
        return x

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        frozen = [self.patch_embed, self.pos_drop, *self.layers[:self.frozen_stages]]
        if self.absolute_pos_embed is not None:
            self.absolute_pos_embed.requires_grad_(False)
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def _use_our_linear_maps(stages: nn.Module) -> None:
    for name, module in list(stages.named_modules()):
        if type(module) is nn.Linear:
            stages.set_submodule(name, Linear.of(module))


def _run_block(block: nn.Module, x: Float[Tensor, 'B H W C'], attend: Callable) -> Float[Tensor, 'B H W C']:
    """One block of the paper's equation 3."""
    attended = block.drop_path1(attend(block, block.norm1(x)))
    attended += x
    found = block.drop_path2(_mlp(block.mlp, block.norm2(attended)))
    found += attended
    return found


def _mlp(mlp: nn.Module, x: Float[Tensor, 'B H W C']) -> Float[Tensor, 'B H W C']:
    return mlp.drop2(mlp.fc2(mlp.drop1(activated(mlp.fc1, x, 'gelu'))))


def _attention_of(blocks: nn.Sequential, x: Float[Tensor, 'B H W C']) -> Callable:
    """A function of (block, x); graphs stay free of the gathers' indices, which would fix the size of the map."""
    if type(x) is Tensor and not is_recorded():
        return attend_in_windows
    return partial(_window_attention, mask=_shift_mask(blocks, x))


def _window_attention(block: nn.Module, x: Float[Tensor, 'B H W C'], *,
                      mask: Tensor | None) -> Float[Tensor, 'B H W C']:
    from timm.models.swin_transformer import window_partition, window_reverse
    height, width = x.shape[1:3]
    x = _pad_to_windows(x, block.window_size)
    shift = block.shift_size if any(block.shift_size) else None
    if shift:
        x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
    windows = window_partition(x, block.window_size).flatten(1, 2)
    windows = block.attn(windows, mask=mask if shift else None)
    # no unflatten: ONNX has none before opset 13
    windows = windows.reshape(-1, *block.window_size, windows.shape[-1])
    x = window_reverse(windows, block.window_size, x.shape[1], x.shape[2])
    if shift:
        x = torch.roll(x, shift, (1, 2))
    return x[:, :height, :width]


def _pad_to_windows(x: Float[Tensor, 'B H W C'], window: tuple[int, int]) -> Float[Tensor, 'B _ _ C']:
    return F.pad(x, (0, 0, 0, -x.shape[2] % window[1], 0, -x.shape[1] % window[0]))


def _shift_mask(blocks: nn.Sequential, x: Float[Tensor, 'B H W C']) -> Tensor | None:
    """The mask that keeps parts of a rolled map apart; the same for all shifted blocks of a stage."""
    shifted = next((block for block in blocks if any(block.shift_size)), None)
    return None if shifted is None else shifted.get_attn_mask(_pad_to_windows(x[:1, ..., :1], shifted.window_size))


def _arch(name: str) -> SwinArch:
    if name not in ARCHS:
        raise ValueError(f"SwinTransformer: arch='{name}' is not one of {', '.join(ARCHS)}.")
    return ARCHS[name]
