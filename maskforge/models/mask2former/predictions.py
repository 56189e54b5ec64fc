"""What Mask2Former's decoder predicts."""
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class MaskPredictions(NamedTuple):
    """Classes and masks of all layers, masks as products that are not computed before they are needed.

    A mask logit is the scalar product of a query's embedding with the features of a pixel, so that resizing and
    sampling may come before the product.

    Legend: N predictions (before the first layer, and after every one), B images, Q queries, K classes, M channels,
    h w a quarter of the padded input.

    Attributes:
        class_logits: the last column is "no object".
        mask_embeddings, mask_features: the factors.
    """

    class_logits: Float[Tensor, 'N B Q K+1']
    mask_embeddings: Float[Tensor, 'N B Q M']
    mask_features: Float[Tensor, 'B M h w']

    def mask_logits(self, layer: int = -1) -> Float[Tensor, 'B Q h w']:
        """Return the masks of one layer, of the last by default."""
        masks = self.mask_embeddings[layer] @ self.mask_features.flatten(2)
        return masks.reshape(*masks.shape[:2], *self.mask_features.shape[-2:])
