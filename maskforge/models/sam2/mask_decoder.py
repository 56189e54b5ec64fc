"""The mask decoder: tokens become masks, their predicted IoU and a visibility score (Ravi et al. 2024, section 4)."""
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.layers.mlp import MLP
from maskforge.models.sam2.layer_norm_2d import LayerNorm2d
from maskforge.models.sam2.network_settings import NetworkSettings
from maskforge.models.sam2.structures import ImageFeatures
from maskforge.models.sam2.two_way_transformer import TwoWayTransformer

#: tokens: one for a single mask, the others for several
NUM_MASKS = 4


class DecodedMasks(NamedTuple):
    """Every mask of one pass, before some are chosen: the first for one mask, three for several.

    Attributes:
        masks: logits at stride 4.
        ious: predicted IoU of each.
        tokens: what each was made from.
        object_scores: logits.
    """

    masks: Float[Tensor, 'N 4 H4 W4']
    ious: Float[Tensor, 'N 4']
    tokens: Float[Tensor, 'N 4 C']
    object_scores: Float[Tensor, 'N 1']


class MaskDecoder(nn.Module):
    """Two-way transformer, upscaling and heads.

    Args:
        settings: of the network.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.hidden_dim
        self.transformer = TwoWayTransformer(width, num_layers=settings.decoder_depth,
                                             num_heads=settings.decoder_heads, feedforward=settings.decoder_mlp)
        self.iou_token, self.mask_tokens = nn.Embedding(1, width), nn.Embedding(NUM_MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2), LayerNorm2d(width // 4), nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2), nn.GELU())
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, width // 8, 3) for _ in range(NUM_MASKS))
        self.iou_prediction_head = MLP(width, width, NUM_MASKS, 3)
        self.iou_prediction_use_sigmoid = settings.iou_prediction_use_sigmoid
        self.conv_s0 = self.conv_s1 = self.obj_score_token = self.pred_obj_score_head = None
        if settings.use_high_res_features_in_sam:
            self.conv_s0, self.conv_s1 = nn.Conv2d(width, width // 8, 1), nn.Conv2d(width, width // 4, 1)
        if settings.pred_obj_scores:
            self.obj_score_token = nn.Embedding(1, width)
            self.pred_obj_score_head = MLP(width, width, 1, 3) if settings.pred_obj_scores_mlp else nn.Linear(width, 1)

    def forward(self, features: ImageFeatures, position: Float[Tensor, '1 C h w'], tokens: Float[Tensor, 'N T C'],
                dense: Float[Tensor, 'N C h w']) -> DecodedMasks:
        """Return all masks.

        Args:
            features: a row per object.
            position: code of the map's places.
            tokens, dense: of the prompt encoder.
        """
        own = [part.weight for part in (self.obj_score_token, self.iou_token, self.mask_tokens) if part is not None]
        own = torch.cat(own).expand(tokens.shape[0], -1, -1)
        tokens, image = self.transformer(features.s16 + dense, position, torch.cat((own, tokens), 1))
        scored = int(self.obj_score_token is not None)
        mask_tokens = tokens[:, scored + 1:scored + 1 + NUM_MASKS]
        ious = self.iou_prediction_head(tokens[:, scored])
        return DecodedMasks(self._masks(mask_tokens, self._upscaled(image, features)),
                            ious.sigmoid() if self.iou_prediction_use_sigmoid else ious, mask_tokens,
                            self._object_scores(tokens[:, 0]))

    def _object_scores(self, token: Float[Tensor, 'N C']) -> Float[Tensor, 'N 1']:
        if self.pred_obj_score_head is None:
            # always visible
            return token.new_full((token.shape[0], 1), 10.)
        return self.pred_obj_score_head(token)

    def _upscaled(self, image: Float[Tensor, 'N C h w'], features: ImageFeatures) -> Float[Tensor, 'N _ _ _']:
        enlarge, norm, act, enlarge_again, last_act = self.output_upscaling
        if self.conv_s0 is None:
            return self.output_upscaling(image)
        x = act(norm(enlarge(image) + features.s8))
        return last_act(enlarge_again(x) + features.s4)

    def _masks(self, tokens: Float[Tensor, 'N 4 C'], image: Float[Tensor, 'N C8 H4 W4']) -> Float[Tensor, 'N 4 H4 W4']:
        weights = torch.stack([mlp(token) for mlp, token in zip(self.output_hypernetworks_mlps, tokens.unbind(1))], 1)
        return (weights @ image.flatten(2)).reshape(image.shape[0], NUM_MASKS, *image.shape[-2:])
