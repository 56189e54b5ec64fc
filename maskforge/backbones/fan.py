"""FAN, fully attentional network (Zhou et al. 2022), one map of stride 16.

Legend: B images, D embedding width, h w token grid, H W pixels.
"""
import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from maskforge.backbones.drop_path import linear_rates
from maskforge.backbones.fan_blocks import ClassAttentionBlock, FANBlock
from maskforge.backbones.fan_stem import ConvPatchEmbed, FourierPositions, HybridPatchEmbed
from maskforge.backbones.mal_vit import check_multiple, plain_layer_id, run_block
from maskforge.registry import MODELS, SCOPE

STRIDE = 16
NORM_EPS = 1e-6
CLASS_BLOCKS = 2
# deeper networks start closer to the identity (Touvron et al. 2021, CaiT)
DEEP, SCALE, DEEP_SCALE = 18, 1.0, 1e-5


@MODELS.register_module()
class FAN(BaseModule):
    """Image to the token map after the last block and the final norm; any image size that 16 divides.

    Args:
        embed_dim, depth, num_heads, mlp_ratio: of the blocks.
        hybrid: tokens by two ConvNeXt stages (``hybrid_depths`` blocks each) instead of four convolutions.
        drop_path_rate: of the last block; the others' grow linearly from 0.
        with_cp: recompute the blocks' activations in the backward pass instead of keeping them.
        init_cfg: pretrained weights.

    Attributes:
        out_channels, strides: of the one map that is returned.

    Raises:
        ValueError: an embed_dim that num_heads (or 8, for the convolutions) does not divide.
    """

    def __init__(self, embed_dim: int = 192, depth: int = 12, num_heads: int = 4, *, mlp_ratio: float | int = 4,
                 hybrid: bool = False, hybrid_depths: tuple[int, int] | list[int] = (3, 3),
                 drop_path_rate: float | int = 0.0, with_cp: bool = False,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        if embed_dim % num_heads or embed_dim % 8:
            raise ValueError(f'FAN: embed_dim={embed_dim} must be a multiple of num_heads={num_heads} and of 8.')
        self.depth, self.with_cp = depth, with_cp
        scale = DEEP_SCALE if depth > DEEP else SCALE
        self.patch_embed = HybridPatchEmbed(embed_dim, tuple(hybrid_depths)) if hybrid else ConvPatchEmbed(embed_dim)
        self.pos_embed = FourierPositions(embed_dim)
        # the class token changes nothing in the map; see ClassAttentionBlock
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim), requires_grad=False)
        self.blocks = nn.ModuleList(FANBlock(embed_dim, num_heads, mlp_ratio=mlp_ratio, drop_path=rate, scale=scale)
                                    for rate in linear_rates(drop_path_rate, depth))
        self.cls_attn_blocks = nn.ModuleList(ClassAttentionBlock(embed_dim, mlp_ratio=mlp_ratio, scale=scale)
                                             for _ in range(CLASS_BLOCKS))
        self.norm = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.out_channels, self.strides = (embed_dim,), (STRIDE,)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names; everything else was initialised with the module."""
        # MMEngine looks initialisers up in the current scope; outside a Runner there is none, and ours would be missed
        with DefaultScope.overwrite_default_scope(None if DefaultScope.get_current_instance() else SCOPE):
            super().init_weights()

    def stages(self) -> list[nn.Module]:
        """The patch embedding, then every block: what can be frozen, by index."""
        return [self.patch_embed, *self.blocks]

    def layer_id(self, name: str) -> int:
        """Depth of a parameter: 0 the embeddings, i the i-th block counted from 1, depth + 1 what follows."""
        return plain_layer_id(name, self.depth)

    def forward(self, images: Float[Tensor, 'B C H W']) -> tuple[Float[Tensor, 'B D h w']]:
        """Return one map of stride 16.

        Raises:
            ValueError: height or width is not a multiple of 16.
        """
        check_multiple(images, STRIDE, type(self).__name__)
        features = self.patch_embed(images)
        grid = tuple(features.shape[-2:])
        tokens = (features + self.pos_embed(features)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = run_block(block, tokens, grid, recompute=self.with_cp and self.training)
        for block in self.cls_attn_blocks:
            tokens = block(tokens)
        return (self.norm(tokens).transpose(1, 2).unflatten(2, grid),)
