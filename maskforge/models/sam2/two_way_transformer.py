"""The mask decoder's transformer: tokens look at the image, the image looks at tokens (Kirillov et al. 2023)."""
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.layers.mlp import MLP
from maskforge.models.sam2.attention import Attention


class TwoWayBlock(nn.Module):
    """Self-attention of tokens, tokens to image, feed-forward network, image to tokens; each followed by a norm.

    Args:
        embed_dims: C; ``num_heads``; ``feedforward``: hidden width (ReLU).
        first: the tokens' content is their position code as well, so self-attention takes it once and has no residual.
    """

    def __init__(self, embed_dims: int, *, num_heads: int, feedforward: int, first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(embed_dims, num_heads=num_heads)
        self.cross_attn_token_to_image = _narrow(embed_dims, num_heads)
        self.mlp = MLP(embed_dims, feedforward, embed_dims, 2)
        self.cross_attn_image_to_token = _narrow(embed_dims, num_heads)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(embed_dims) for _ in range(4))
        self.first = first

    def forward(self, tokens: Float[Tensor, 'N T C'], image: Float[Tensor, 'N S C'],
                token_position: Float[Tensor, 'N T C'],
                image_position: Float[Tensor, '1 S C']) -> tuple[Float[Tensor, 'N T C'], Float[Tensor, 'N S C']]:
        """Return tokens and image after the block."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_position
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        key = image + image_position
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_position, key, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(key, tokens + token_position, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Blocks and a last look of the tokens at the image.

    Args:
        embed_dims: C; ``num_layers``, ``num_heads``, ``feedforward``: of the blocks.
    """

    def __init__(self, embed_dims: int = 256, *, num_layers: int = 2, num_heads: int = 8,
                 feedforward: int = 2048) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(embed_dims, num_heads=num_heads, feedforward=feedforward,
                                                first=number == 0) for number in range(num_layers))
        self.final_attn_token_to_image = _narrow(embed_dims, num_heads)
        self.norm_final_attn = nn.LayerNorm(embed_dims)

    def forward(self, image: Float[Tensor, 'N C h w'], position: Float[Tensor, '1 C h w'],
                tokens: Float[Tensor, 'N T C']) -> tuple[Float[Tensor, 'N T C'], Float[Tensor, 'N C h w']]:
        """Return tokens and image; the tokens' first content is their position code."""
        shape = image.shape
        image, position = (x.flatten(2).transpose(1, 2) for x in (image, position))
        token_position = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_position, position)
        looked = self.final_attn_token_to_image(tokens + token_position, image + position, image)
        return self.norm_final_attn(tokens + looked), image.transpose(1, 2).reshape(image.shape[0], *shape[1:])


def _narrow(embed_dims: int, num_heads: int) -> Attention:
    """Attention between tokens and image works at half the width."""
    return Attention(embed_dims, num_heads=num_heads, inner_dims=embed_dims // 2)
