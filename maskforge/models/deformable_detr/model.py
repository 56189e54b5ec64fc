"""Deformable DETR (Zhu et al., ICLR 2021), whole forward path.

    images -> backbone -> levels -> tokens -> encoder -> memory -> (proposals) -> queries -> decoder -> classes, boxes
"""
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from mmengine.model import BaseModel
from torch import Tensor, nn

from maskforge.layers.deformable_encoder import DeformableEncoder
from maskforge.layers.freeze import freeze_modules
from maskforge.models.deformable_detr.backbone_levels import build_backbone
from maskforge.models.deformable_detr.criterion import DeformableDETRCriterion
from maskforge.models.deformable_detr.decoder import DeformableDecoder, Queries
from maskforge.models.deformable_detr.export import DeformableDETRExport, export_spec
from maskforge.models.deformable_detr.feature_levels import FeatureLevels, Tokens, padding_mask
from maskforge.models.deformable_detr.heads import PredictionHeads
from maskforge.models.deformable_detr.postprocess import to_detections
from maskforge.models.deformable_detr.predictions import SetPredictions
from maskforge.models.deformable_detr.public_names import own_name
from maskforge.models.deformable_detr.two_stage import Proposals, ProposalStage
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, ExportSpec


@MODELS.register_module()
class DeformableDETR(BaseModel):
    """Detector without anchors and suppression: a set of boxes from deformable attention over feature levels.

    Legend: B images, N decoder layers, Q queries, K classes, S tokens, C channels.

    Args:
        backbone: config of MODELS; ``out_indices`` follow from ``return_interm_indices`` where they are left out.
        num_classes: K, rows of the class heads; the background has none.
        num_feature_levels, return_interm_indices: levels of the transformer: 0 .. 3 are the backbone's of strides 4
            .. 32, 4 is one more of half the last one's resolution. There must be as many as the number says.
        num_queries, hidden_dim, nheads, enc_layers, dec_layers, dim_feedforward, enc_n_points, dec_n_points: sizes.
        dropout_ratio: in the encoder and the decoder.
        with_box_refine: every decoder layer refines the box of the one before, with heads of its own.
        two_stage: queries are the best of one proposal per token; needs ``with_box_refine``.
        aux_loss: losses after every decoder layer rather than the last alone. Without, the separate heads of earlier
            layers (box refinement) get no gradient and count as frozen.
        mask_value: the attention's values are zero in the padding; False for TAO's weights, which saw it.
        activation_checkpoint: recompute encoder and decoder layers in the backward pass.
        train_backbone: False freezes all of the backbone.
        freeze: dotted names of parts that are not trained (see :func:`~maskforge.layers.freeze.freeze_modules`);
            the official names (``'transformer.encoder'``, ``'input_proj'``) are understood as well.
        cls_loss_coef, bbox_loss_coef, giou_loss_coef: weights of the losses and of the matching costs.
        set_cost_class, set_cost_bbox, set_cost_giou: costs where they differ from the losses' weights.
        focal_alpha: of the class loss; in (0, 1).
        num_select: most detections per image.
        conf_threshold: detections with a lower score are dropped.
        data_preprocessor, init_cfg: as in MMEngine.

    Raises:
        ValueError: settings that contradict each other; an unknown name in ``freeze``.
    """

    # what every step runs equally often in all processes, see FSDP2Strategy
    sharded_parts = ('backbone', 'encoder', 'decoder')
    # what `compile=True` compiles, piece by piece: shapes vary little there, and control flow with the data not at all
    compiled_parts = ('backbone', 'encoder.layers', 'decoder.layers')

    def __init__(self, backbone: Mapping, *, num_classes: int = 91, num_feature_levels: int = 4,
                 return_interm_indices: Sequence[int] = (1, 2, 3, 4), num_queries: int = 300, hidden_dim: int = 256,
                 nheads: int = 8, enc_layers: int = 6, dec_layers: int = 6, dim_feedforward: int = 1024,
                 enc_n_points: int = 4, dec_n_points: int = 4, dropout_ratio: float | int = 0.1,
                 with_box_refine: bool = False, two_stage: bool = False, aux_loss: bool = True,
                 mask_value: bool = True, activation_checkpoint: bool = False, train_backbone: bool = True,
                 freeze: Sequence[str] = (), cls_loss_coef: float | int = 2., bbox_loss_coef: float | int = 5.,
                 giou_loss_coef: float | int = 2., set_cost_class: float | int | None = None,
                 set_cost_bbox: float | int | None = None, set_cost_giou: float | int | None = None,
                 focal_alpha: float = 0.25, num_select: int = 100, conf_threshold: float | int = 0.,
                 data_preprocessor: Mapping | nn.Module | None = None,
                 init_cfg: dict | list | None = None) -> None:
        if not isinstance(data_preprocessor, nn.Module):
            data_preprocessor = MODELS.build(data_preprocessor or dict(type='DetDataPreprocessor'))
        super().__init__(data_preprocessor, init_cfg)
        if two_stage and not with_box_refine:
            raise ValueError('two_stage=True needs with_box_refine=True: proposals are boxes that layers refine.')
        self.num_classes, self.aux_loss = num_classes, aux_loss
        self.num_select, self.conf_threshold = num_select, conf_threshold
        self.backbone, extra_level = build_backbone(backbone, num_feature_levels, return_interm_indices)
        self.levels = FeatureLevels(self.backbone.out_channels, extra_level=extra_level, hidden_dim=hidden_dim)
        layer = dict(embed_dims=hidden_dim, num_heads=nheads, num_levels=num_feature_levels,
                     feedforward_channels=dim_feedforward, dropout=dropout_ratio, mask_value=mask_value)
        self.encoder = DeformableEncoder(enc_layers, activation_checkpoint=activation_checkpoint,
                                         num_points=enc_n_points, **layer)
        self.decoder = DeformableDecoder(dec_layers, with_box_refine=with_box_refine, num_points=dec_n_points,
                                         activation_checkpoint=activation_checkpoint, **layer)
        self.heads = PredictionHeads(hidden_dim, num_classes, dec_layers, separate=with_box_refine,
                                     two_stage=two_stage)
        self.proposals = ProposalStage(hidden_dim, num_queries) if two_stage else None
        self.query_embed = self.reference_points = None
        if not two_stage:
            self.query_embed = nn.Embedding(num_queries, 2 * hidden_dim)
            self.reference_points = nn.Linear(hidden_dim, 2)
            nn.init.xavier_uniform_(self.reference_points.weight)
            nn.init.zeros_(self.reference_points.bias)
        self.criterion = DeformableDETRCriterion(
            cls_loss_coef=cls_loss_coef, bbox_loss_coef=bbox_loss_coef, giou_loss_coef=giou_loss_coef,
            set_cost_class=set_cost_class, set_cost_bbox=set_cost_bbox, set_cost_giou=set_cost_giou,
            focal_alpha=focal_alpha)
        self.frozen = (*(() if train_backbone else ('backbone',)), *map(own_name, freeze),
                       *(() if aux_loss else self.heads.without_loss(dec_layers)))
        freeze_modules(self, self.frozen)

    def train(self, mode: bool = True) -> 'DeformableDETR':
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        freeze_modules(self, self.frozen)
        return self

    def forward(self, inputs: Float[Tensor, 'B 3 H W'], data_samples: Sequence[DetDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[DetDataSample] | SetPredictions:
        """Run on normalised, padded images.

        Args:
            mode: 'loss' returns scalars by name, 'predict' the samples with ``pred_instances``, 'tensor' the raw
                :class:`SetPredictions`.

        Raises:
            ValueError: another mode.
        """
        if mode == 'loss':
            return self.criterion(self.predict_sets(inputs, data_samples), data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.predict_sets(inputs, data_samples)
        raise ValueError(f"mode={mode!r} is not 'loss', 'predict' or 'tensor'.")

    @torch.no_grad()
    def predict(self, inputs: Float[Tensor, 'B 3 H W'], data_samples: Sequence[DetDataSample]) -> list[DetDataSample]:
        """Return the samples with ``pred_instances`` in the frame of the original images, best first."""
        found = self.predict_sets(inputs, data_samples, all_layers=False)
        detections = to_detections(found.logits[-1], found.boxes_cxcywh[-1], data_samples, num_select=self.num_select,
                                   conf_threshold=self.conf_threshold)
        for sample, instances in zip(data_samples, detections):
            sample.pred_instances = instances
        return list(data_samples)

    def predict_sets(self, inputs: Float[Tensor, 'B 3 H W'],
                     data_samples: Sequence[DetDataSample] | None = None, *,
                     all_layers: bool | None = None) -> SetPredictions:
        """Return the raw outputs.

        Args:
            data_samples: with ``img_shape``; without samples, every image fills the whole batch.
            all_layers: of every decoder layer or only of the last; ``aux_loss`` by default.
        """
        shapes = [inputs.shape[-2:]] * len(inputs) if data_samples is None else [s.img_shape for s in data_samples]
        padded = any(tuple(shape[:2]) != tuple(inputs.shape[-2:]) for shape in shapes)
        mask = padding_mask(shapes, inputs.shape[-2:], inputs.device) if padded else None
        return self.run(inputs, mask, all_layers=self.aux_loss if all_layers is None else all_layers)

    def run(self, inputs: Float[Tensor, 'B 3 H W'], padding: Bool[Tensor, 'B H W'] | None = None, *,
            all_layers: bool = False) -> SetPredictions:
        """Return the raw outputs of all decoder layers or of the last.

        Args:
            padding: True where a batch holds no image; None if it is full.
        """
        features = self.backbone(inputs)
        mask = inputs.new_zeros((), dtype=torch.bool).expand(inputs[:, 0].shape) if padding is None else padding
        tokens = self.levels(features, mask, padded=padding is not None)
        memory = self.encoder(tokens.features, tokens.position, tokens.shapes, valid_ratios=tokens.valid_ratios,
                              padding=tokens.padding)
        queries, proposals = self._queries(memory, tokens)
        logits, boxes = self.decoder(queries, memory, tokens, self.heads, all_layers=all_layers)
        return SetPredictions(logits, boxes, *(proposals or (None, None)))

    def _queries(self, memory: Tensor, tokens: Tokens) -> tuple[Queries, Proposals | None]:
        if self.proposals is not None:
            return self.proposals(memory, tokens, self.heads, layer=len(self.decoder.layers))
        position, content = self.query_embed.weight.expand(memory.shape[0], -1, -1).chunk(2, dim=-1)
        return Queries(content, position, self.reference_points(position).sigmoid()), None

    def export_spec(self, *, height: int, width: int, batch_size: int = -1, opset_version: int = 17,
                    dynamic_size: bool = False, on_cpu: bool = True, output: str = 'raw',
                    plugin_version: str = '1') -> ExportSpec:
        """Describe the export; see :mod:`maskforge.models.deformable_detr.export`.

        Args:
            on_cpu: a file for any runtime; False: TensorRT's plugin nodes, of ``plugin_version``.
            output: ``'raw'``, ``'detections'`` or ``'all'``.
        """
        module = DeformableDETRExport(self, output=output, opset_version=opset_version,
                                      plugin_version=None if on_cpu else plugin_version)
        return export_spec(module, height=height, width=width, batch_size=batch_size, dynamic_size=dynamic_size)
