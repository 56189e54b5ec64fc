"""FAN's blocks: attention over tokens, then a gate over channels (Zhou et al. 2022, section 3).

Legend: B images, N = h w tokens, D width, E heads, C = D / E, M hidden width of the perceptron.
Module names are those of public FAN checkpoints.
"""
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.backbones.drop_path import DropPath
from maskforge.backbones.mal_vit import MLP

NORM_EPS = 1e-6


class FANBlock(nn.Module):
    """Token mixing and channel processing, each after a norm, scaled, around a shortcut.

    Args:
        dim, num_heads: D and E.
        mlp_ratio: M / D.
        drop_path: rate.
        scale: initial value of the branches' learned scales.
    """

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float | int, drop_path: float, scale: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = TokenMixing(dim, num_heads)
        self.gamma1 = nn.Parameter(torch.full((dim,), scale))
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = ChannelProcessing(dim, num_heads, hidden=round(dim * mlp_ratio))
        self.gamma2 = nn.Parameter(torch.full((dim,), scale))
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Float[Tensor, 'B N D'], grid: tuple[int, int]) -> Float[Tensor, 'B N D']:
        """Return the tokens of a grid of (h, w) after the block."""
        tokens = tokens + self.drop_path(self.gamma1 * self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.gamma2 * self.mlp(self.norm2(tokens), grid))


class TokenMixing(nn.Module):
    """Multi-head self-attention over the tokens."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Float[Tensor, 'B N D']) -> Float[Tensor, 'B N D']:
        """Return every token's weighted mean of all values, projected."""
        q = self.q(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.kv(tokens).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class ChannelProcessing(nn.Module):
    """Gate every channel of a perceptron's output by how it attends to the tokens' mean channel.

    gate = sigmoid(softmax_N(q)^T mean_C(softmax_N(k))) * temperature, per head, with k the tokens themselves.
    """

    def __init__(self, dim: int, num_heads: int, *, hidden: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.q = nn.Linear(dim, dim)
        self.mlp_v = ConvMLP(dim, hidden)
        self.norm_v = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, tokens: Float[Tensor, 'B N D'], grid: tuple[int, int]) -> Float[Tensor, 'B N D']:
        """Return the gated tokens."""
        heads = (self.num_heads, -1)
        q = self.q(tokens).unflatten(-1, heads).softmax(dim=1)
        k = tokens.unflatten(-1, heads).softmax(dim=1).mean(dim=3)
        gate = torch.einsum('bnec,bne->bec', q, k).sigmoid() * self.temperature[:, :, 0]
        values = self.norm_v(self.mlp_v(tokens, grid))
        return (values.unflatten(-1, heads) * gate[:, None]).flatten(2)


class ConvMLP(nn.Module):
    """Two linear layers; between them ``x + gamma * dwconv(x)`` instead of an activation."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConvs(hidden)
        self.gamma = nn.Parameter(torch.ones(hidden))
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Float[Tensor, 'B N D'], grid: tuple[int, int]) -> Float[Tensor, 'B N D']:
        """Return the tokens; the convolutions see them as a map."""
        tokens = self.fc1(tokens)
        return self.fc2(tokens + self.gamma * self.dwconv(tokens, grid))


class DepthwiseConvs(nn.Module):
    """3x3 depth-wise convolution, GELU, batch norm, 3x3 depth-wise convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.bn = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, tokens: Float[Tensor, 'B N M'], grid: tuple[int, int]) -> Float[Tensor, 'B N M']:
        """Return the tokens after the convolutions."""
        features = tokens.transpose(1, 2).unflatten(2, grid)
        return self.conv2(self.bn(F.gelu(self.conv1(features)))).flatten(2).transpose(1, 2)


class ClassAttentionBlock(nn.Module):
    """What a class-attention block with normed tokens (El-Nouby et al. 2021) does to the patch tokens.

    The class token attends to the patches and nothing flows back, so for a map only this is left of the block:
    x + gamma1 norm1(x), then twice norm2 of it. ``attn``, ``mlp`` and ``gamma2`` change the class token alone: they are
    kept for public checkpoints, do not train and are not computed.
    """

    def __init__(self, dim: int, *, mlp_ratio: float | int, scale: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = nn.ModuleDict({name: nn.Linear(dim, dim) for name in ('q', 'k', 'v', 'proj')})
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = MLP(dim, round(dim * mlp_ratio))
        self.gamma1 = nn.Parameter(torch.full((dim,), scale))
        self.gamma2 = nn.Parameter(torch.full((dim,), scale), requires_grad=False)
        self.attn.requires_grad_(False)
        self.mlp.requires_grad_(False)

    def forward(self, tokens: Float[Tensor, 'B N D']) -> Float[Tensor, 'B N D']:
        """Return the patch tokens after the block."""
        return 2 * self.norm2(tokens + self.gamma1 * self.norm1(tokens))
