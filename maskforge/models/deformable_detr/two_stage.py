"""Proposals from the encoder's tokens as the decoder's queries (Zhu et al., ICLR 2021, appendix A.4)."""
import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from maskforge.layers.deformable_encoder import token_centres
from maskforge.layers.position_encoding import sine_code
from maskforge.models.deformable_detr.decoder import Queries
from maskforge.models.deformable_detr.feature_levels import Tokens
from maskforge.models.deformable_detr.heads import PredictionHeads

#: side of a proposal on the finest level, as a part of the image; doubled with every level
BASE_SIZE = 0.05
#: proposals with any coordinate outside this range are not used
LOW, HIGH = 0.01, 0.99


class Proposals(NamedTuple):
    """The first stage's outputs: per token class logits and box, both float32; +inf logits never reach a box."""

    logits: Float[Tensor, 'B S K']
    boxes_cxcywh: Float[Tensor, 'B S 4']


class ProposalStage(nn.Module):
    """Predicts a box from every token; the best become queries.

    Args:
        hidden_dim: C.
        num_queries: how many are taken, by the logit of class 0 alone (the first stage is trained with one class).
    """

    def __init__(self, hidden_dim: int, num_queries: int) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.output = nn.Linear(hidden_dim, hidden_dim)
        self.output_norm = nn.LayerNorm(hidden_dim)
        self.position = nn.Linear(2 * hidden_dim, 2 * hidden_dim)
        self.position_norm = nn.LayerNorm(2 * hidden_dim)
        for linear in (self.output, self.position):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, memory: Float[Tensor, 'B S C'], tokens: Tokens, heads: PredictionHeads,
                layer: int) -> tuple[Queries, Proposals]:
        """Return the queries (detached from the first stage) and the first stage's outputs.

        Args:
            layer: number of the heads that belong to the encoder.

        Raises:
            ValueError: the image has fewer tokens than there are queries.
        """
        anchors, usable = token_boxes(tokens)
        features = self.output_norm(self.output(memory.masked_fill(~usable[..., None], 0)))
        logits = heads.cls_head(layer)(features).float()
        unclamped = heads.box_head(layer)(features).float() + anchors
        if not (torch.jit.is_tracing() or torch.compiler.is_compiling()) and unclamped.shape[1] < self.num_queries:
            raise ValueError(f'two_stage: the image has {unclamped.shape[1]} tokens, fewer than '
                             f'num_queries={self.num_queries}; take larger images or fewer queries.')
        best = logits[..., 0].topk(self.num_queries, dim=1).indices
        chosen = unclamped.gather(1, best[..., None].expand(-1, -1, 4)).detach()
        position, content = self._encode(chosen).chunk(2, dim=-1)
        return Queries(content, position, chosen.sigmoid()), Proposals(logits, unclamped.sigmoid())

    def _encode(self, unclamped: Float[Tensor, 'B Q 4']) -> Float[Tensor, 'B Q D']:
        codes = sine_code(unclamped.sigmoid() * 2 * math.pi, self.position.in_features // 4).flatten(-2)
        return self.position_norm(self.position(codes.to(self.position.weight.dtype)))


def token_boxes(tokens: Tokens) -> tuple[Float[Tensor, 'B S 4'], Bool[Tensor, 'B S']]:
    """Return a box (cxcywh, as logits) around every token, and which are used: inside the image, not at its border.

    The logits of the others are +inf, which becomes a box of the whole image.
    """
    boxes = []
    ratios = tokens.valid_ratios
    for level, ((height, width), centres) in enumerate(zip(tokens.shapes, token_centres(tokens.shapes, ratios))):
        x = centres[:, 0] / (ratios[:, level, :1] * width).round()
        y = centres[:, 1] / (ratios[:, level, 1:] * height).round()
        size = torch.full_like(x, BASE_SIZE * 2**level)
        boxes.append(torch.stack((x, y, size, size), dim=-1))
    boxes = torch.cat(boxes, dim=1)
    usable = ((boxes > LOW) & (boxes < HIGH)).all(-1)
    if tokens.padding is not None:
        usable = usable & ~tokens.padding
    logits = torch.log(boxes / (1 - boxes))
    return logits.masked_fill(~usable[..., None], math.inf), usable
