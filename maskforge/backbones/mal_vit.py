"""The plain vision transformer of MAL (Dosovitskiy et al. 2021), one map at the stride of its patches.

Legend: B images, D embedding width, N tokens, h w token grid, H W pixels.
"""
import itertools

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from maskforge.backbones.drop_path import DropPath, linear_rates
from maskforge.backbones.position_embedding import FORMS, resample_position_embedding
from maskforge.registry import MODELS, SCOPE

STEM_STRIDE = 16
NORM_EPS = 1e-6


@MODELS.register_module()
class MALViT(BaseModule):
    """Image to the token map of a plain ViT's last block, after its final norm.

    Names and shapes of the tensors are those of timm's ``VisionTransformer``, so its MAE and DeiT weights load as they
    are (``init_cfg=dict(type='Pretrained', checkpoint='timm://vit_base_patch16_224.mae')``). With
    ``patch_embed='conv_stem'`` they lack the stem, which then starts from random values and is reported as missing.

    Args:
        embed_dim, depth, num_heads, mlp_ratio: of the transformer.
        patch_size: side of a patch in pixels, the map's stride.
        img_size: side of the pre-training images; its grid is the size of ``pos_embed``.
        patch_embed: 'patch', one convolution; or 'conv_stem', four 3x3 convolutions of stride 2 (Xiao et al. 2021),
            as the released MAL weights have it. The stem's stride is 16 whatever ``patch_size``, which then only
            gives the size of ``pos_embed``.
        position_form: how ``pos_embed`` is resampled to other image sizes, 'size' or 'scale'; see
            :func:`~maskforge.backbones.position_embedding.resample_position_embedding`.
        drop_path_rate: of the last block; the others' grow linearly from 0.
        with_cp: recompute the blocks' activations in the backward pass instead of keeping them.
        init_cfg: pretrained weights.

    Attributes:
        out_channels, strides: of the one map that is returned.

    Raises:
        ValueError: an argument that does not exist or does not fit.
    """

    def __init__(self, embed_dim: int = 768, depth: int = 12, num_heads: int = 12, *, mlp_ratio: float | int = 4,
                 patch_size: int = 16, img_size: int = 224, patch_embed: str = 'patch', position_form: str = 'size',
                 drop_path_rate: float | int = 0.0, with_cp: bool = False,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        _check(embed_dim, num_heads, patch_size, img_size, patch_embed, position_form)
        self.embed_dim, self.depth, self.position_form, self.with_cp = embed_dim, depth, position_form, with_cp
        stem = patch_embed == 'conv_stem'
        self.patch_embed = ConvStem(embed_dim) if stem else PatchEmbed(embed_dim, patch_size)
        self.stride = STEM_STRIDE if stem else patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (img_size // patch_size) ** 2, embed_dim))
        self.blocks = nn.ModuleList(ViTBlock(embed_dim, num_heads, mlp_ratio=mlp_ratio, drop_path=rate)
                                    for rate in linear_rates(drop_path_rate, depth))
        self.norm = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.out_channels, self.strides = (embed_dim,), (self.stride,)
        self._init_from_scratch()

    def _init_from_scratch(self) -> None:
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.blocks.modules():
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
        """Depth of a parameter: 0 the embeddings, i the i-th block counted from 1, depth + 1 the final norm."""
        return plain_layer_id(name, self.depth)

    def forward(self, images: Float[Tensor, 'B C H W']) -> tuple[Float[Tensor, 'B D h w']]:
        """Return one map of stride ``strides[0]``.

        Raises:
            ValueError: height or width is not a multiple of the stride.
        """
        check_multiple(images, self.stride, type(self).__name__)
        tokens = self.patch_embed(images)
        grid = tuple(tokens.shape[-2:])
        tokens = torch.cat((self.cls_token.expand(len(images), -1, -1), tokens.flatten(2).transpose(1, 2)), dim=1)
        tokens = tokens + resample_position_embedding(self.pos_embed, grid, form=self.position_form)
        for block in self.blocks:
            tokens = run_block(block, tokens, recompute=self.with_cp and self.training)
        return (self.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, grid),)


class PatchEmbed(nn.Module):
    """One convolution from patches to tokens."""

    def __init__(self, embed_dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, patch_size)
        # a convolution over patches is a linear layer: timm and MAE initialise it as one
        nn.init.xavier_uniform_(self.proj.weight.view(embed_dim, -1))

    def forward(self, images: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B D h w']:
        """Return the tokens as a map."""
        return self.proj(images)


class ConvStem(nn.Module):
    """Four convolutions of stride 2 with group norm and GELU, then one of 1x1 (Xiao et al. 2021)."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        widths = [3, *(embed_dim // divisor for divisor in (8, 4, 2, 1))]
        stages = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.GroupNorm(1, b, eps=NORM_EPS), nn.GELU())
                  for a, b in itertools.pairwise(widths)]
        stages[-1].append(nn.Conv2d(embed_dim, embed_dim, 1))
        self.proj = nn.Sequential(*stages)

    def forward(self, images: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B D h w']:
        """Return the tokens as a map of stride 16."""
        return self.proj(images)


class ViTBlock(nn.Module):
    """Attention and a two-layer perceptron, each after a norm and around a shortcut."""

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float | int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = MLP(dim, round(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Float[Tensor, 'B N D']) -> Float[Tensor, 'B N D']:
        """Return the tokens after the block."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class SelfAttention(nn.Module):
    """Multi-head self-attention by PyTorch's fused kernel."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Float[Tensor, 'B N D']) -> Float[Tensor, 'B N D']:
        """Return every token's weighted mean of all values, projected."""
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Float[Tensor, '*B D']) -> Float[Tensor, '*B D']:
        """Return the tokens, each changed on its own."""
        return self.fc2(F.gelu(self.fc1(tokens)))


def run_block(block: nn.Module, tokens: Tensor, *arguments, recompute: bool) -> Tensor:
    """Run a block; with ``recompute`` its activations are computed again in the backward pass."""
    if recompute:
        return checkpoint(block, tokens, *arguments, use_reentrant=False)
    return block(tokens, *arguments)


def check_multiple(images: Tensor, stride: int, name: str) -> None:
    """Raise ``ValueError`` where the images' sides are not multiples of the stride."""
    height, width = images.shape[-2:]
    if height % stride or width % stride:
        near = max(round(height / stride), 1) * stride
        raise ValueError(f'{name}: images of {height} x {width} pixels do not divide into patches of {stride}; '
                         f'set crop_size to a multiple, for example {near}.')


def plain_layer_id(name: str, depth: int) -> int:
    """Depth of a parameter of a network of ``depth`` blocks of one width, by its name."""
    first, _, rest = name.partition('.')
    if first == 'blocks':
        return int(rest.split('.')[0]) + 1
    return 0 if first in ('patch_embed', 'pos_embed', 'cls_token') else depth + 1


def _check(embed_dim: int, num_heads: int, patch_size: int, img_size: int, patch_embed: str,
           position_form: str) -> None:
    if embed_dim % num_heads:
        raise ValueError(f'MALViT: embed_dim={embed_dim} is not a multiple of num_heads={num_heads}.')
    if img_size % patch_size:
        raise ValueError(f'MALViT: img_size={img_size} is not a multiple of patch_size={patch_size}.')
    if patch_embed not in ('patch', 'conv_stem'):
        raise ValueError(f"MALViT: patch_embed={patch_embed!r} is not 'patch' or 'conv_stem'.")
    if patch_embed == 'conv_stem' and embed_dim % 8:
        raise ValueError(f'MALViT: the convolutional stem needs an embed_dim that 8 divides, got {embed_dim}.')
    if position_form not in FORMS:
        raise ValueError(f'MALViT: position_form={position_form!r} is not one of {", ".join(FORMS)}.')
