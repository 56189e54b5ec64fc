"""The prompt encoder: points, boxes and masks become tokens and a map (Kirillov et al. 2023, appendix A)."""
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.models.sam2.layer_norm_2d import LayerNorm2d
from maskforge.models.sam2.structures import Prompts
from maskforge.ops.device_values import on_device

#: labels 0 .. 3 have a learnt vector each: negative, positive, a box's two corners
NUM_LABELS = 4


class FourierCode(nn.Module):
    """Random Fourier features of positions in 0 .. 1 (Tancik et al. 2020); the frequencies are drawn once."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer('positional_encoding_gaussian_matrix', torch.randn(2, channels // 2))

    def forward(self, position: Float[Tensor, '*N 2']) -> Float[Tensor, '*N C']:
        """Return the code of x, y: sines, then cosines, in float32."""
        matrix = self.positional_encoding_gaussian_matrix.float()
        x, y = (2 * position.float() - 1).unsqueeze(-1).unbind(-2)
        # products and a sum instead of a matrix product, which autocast would round
        angle = 2 * math.pi * (x * matrix[0] + y * matrix[1])
        return torch.cat((angle.sin(), angle.cos()), dim=-1)


class PromptEncoder(nn.Module):
    """Tokens of points and a map of the dense prompt.

    Args:
        embed_dims: C; ``mask_channels``: of the dense prompt's last map but one.
    """

    def __init__(self, embed_dims: int = 256, mask_channels: int = 16) -> None:
        super().__init__()
        self.pe_layer = FourierCode(embed_dims)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dims) for _ in range(NUM_LABELS))
        self.not_a_point_embed = nn.Embedding(1, embed_dims)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, stride=2), LayerNorm2d(mask_channels // 4), nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2), LayerNorm2d(mask_channels), nn.GELU(),
            nn.Conv2d(mask_channels, embed_dims, 1))
        self.no_mask_embed = nn.Embedding(1, embed_dims)

    def forward(self, prompts: Prompts, *, num_objects: int,
                size: tuple[int, int]) -> tuple[Float[Tensor, 'N T C'], Float[Tensor, 'N C h w']]:
        """Return tokens and dense map.

        There is always one token more than points, of padding; without points there are two.

        Args:
            num_objects: N; ``size``: h, w.

        Raises:
            ValueError: prompts of another number of objects, unknown labels, or a mask of another size.
        """
        points, labels = prompts.points, prompts.labels
        if points is None:
            points, labels = self._padding(num_objects)
        _check(prompts, num_objects, size)
        return self.tokens(points, labels, size), self._dense(prompts.masks, num_objects, size)

    def grid(self, size: tuple[int, int]) -> Float[Tensor, '1 C h w']:
        """Return the code of every place of a map of ``size`` (h, w)."""
        height, width = size
        device = self.no_mask_embed.weight.device
        y, x = torch.meshgrid((torch.arange(height, device=device) + 0.5) / height,
                              (torch.arange(width, device=device) + 0.5) / width, indexing='ij')
        return self.pe_layer(torch.stack((x, y), dim=-1)).permute(2, 0, 1)[None]

    def _padding(self, num_objects: int) -> tuple[Tensor, Tensor]:
        weight = self.no_mask_embed.weight
        return (torch.zeros(num_objects, 1, 2, device=weight.device),
                torch.full((num_objects, 1), -1, dtype=torch.long, device=weight.device))

    def tokens(self, points: Float[Tensor, 'N P 2'], labels: Int[Tensor, 'N P'],
               size: tuple[int, int]) -> Float[Tensor, 'N T C']:
        """Return P + 1 tokens, the last one of padding; ``size``: h, w."""
        # points are pixel indices: half a pixel leads to their centres
        position = F.pad(points.float() + 0.5, (0, 0, 0, 1))
        position = position / on_device((size[1] * 16, size[0] * 16), position.device, dtype=position.dtype)
        labels = F.pad(labels.long(), (0, 1), value=-1)
        learnt = torch.cat((self.not_a_point_embed.weight, *(label.weight for label in self.point_embeddings)))
        return self.pe_layer(position) * (labels >= 0)[..., None] + learnt[labels + 1]

    def _dense(self, masks: Tensor | None, num_objects: int, size: tuple[int, int]) -> Float[Tensor, 'N C h w']:
        if masks is not None:
            return self.mask_downscaling(masks)
        return self.no_mask_embed.weight[..., None, None].expand(num_objects, -1, *size)


def _check(prompts: Prompts, num_objects: int, size: tuple[int, int]) -> None:
    for name, part in (('points', prompts.points), ('labels', prompts.labels), ('masks', prompts.masks)):
        if part is not None and len(part) != num_objects:
            raise ValueError(f'The prompts have {name} of {len(part)} objects, the features are of {num_objects}.')
    if (prompts.points is None) != (prompts.labels is None):
        raise ValueError('Points and labels of a prompt go together; one of them is missing.')
    wanted = (4 * size[0], 4 * size[1])
    if prompts.masks is not None and tuple(prompts.masks.shape[-2:]) != wanted:
        raise ValueError(f'A dense prompt has the logits at stride 4, {wanted} for this input; got '
                         f'{tuple(prompts.masks.shape[-2:])}.')
