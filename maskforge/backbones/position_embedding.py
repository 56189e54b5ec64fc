"""Learned position embeddings of a plain vision transformer, resampled to another token grid."""
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FORMS = ('size', 'scale')
SCALE_OFFSET = 0.1


def resample_position_embedding(embedding: Float[Tensor, '1 N D'], grid: tuple[int, int], *,
                                form: str = 'size') -> Float[Tensor, '1 M D']:
    """Return the embedding of a class token and a token grid of another size.

    Args:
        embedding: the class token's entry, then those of a square grid, row by row.
        grid: (h, w) of the tokens; M = 1 + h w.
        form: 'size' resamples bicubically with antialiasing to exactly h x w (timm's way). 'scale' interpolates with
            the factor (h + 0.1) / g: released MAL weights were trained so. The factor, not the size ratio, fixes
            where the old grid is sampled, so that the positions lie slightly closer together.

    Raises:
        ValueError: another form, or an embedding whose grid is not square.
    """
    if form not in FORMS:
        raise ValueError(f'position embedding: form={form!r} is not one of {", ".join(FORMS)}.')
    side = round((embedding.shape[1] - 1) ** 0.5)
    if side * side != embedding.shape[1] - 1:
        raise ValueError(f'position embedding: {embedding.shape[1] - 1} entries beside the class token are not a '
                         f'square grid.')
    if grid == (side, side):
        return embedding
    first, tokens = embedding[:, :1], embedding[:, 1:]
    planes = tokens.transpose(1, 2).reshape(1, -1, side, side).float()
    if form == 'size':
        planes = F.interpolate(planes, size=grid, mode='bicubic', antialias=True, align_corners=False)
    else:
        factors = tuple((length + SCALE_OFFSET) / side for length in grid)
        planes = F.interpolate(planes, scale_factor=factors, mode='bicubic', align_corners=False)
    return torch.cat((first, planes.flatten(2).transpose(1, 2).to(tokens.dtype)), dim=1)
