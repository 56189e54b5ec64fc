"""Mask2Former (Cheng et al., CVPR 2022), whole forward path.

    images -> backbone -> pixel decoder -> memory, mask features -> decoder -> classes, masks
"""
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from mmengine.model import BaseModel
from torch import Tensor, nn

from maskforge.backbones.stages import build_stages
from maskforge.layers.freeze import freeze_modules
from maskforge.models.mask2former.criterion import Mask2FormerCriterion
from maskforge.models.mask2former.decoder import MaskedAttentionDecoder
from maskforge.models.mask2former.export import Mask2FormerExport, export_spec
from maskforge.models.mask2former.pixel_decoder import PixelDecoder
from maskforge.models.mask2former.postprocess import PostprocessSettings, add_predictions
from maskforge.models.mask2former.predictions import MaskPredictions
from maskforge.models.mask2former.public_names import own_name
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, ExportSpec

MODES = ('panoptic', 'instance', 'semantic')
STRIDES = (4, 8, 16, 32)


@MODELS.register_module()
class Mask2Former(BaseModel):
    """Segmentation by queries that attend inside their masks: semantic, instance or panoptic with one network.

    Legend: B images, Q queries, K classes.

    Args:
        backbone: config of MODELS with levels of strides 4, 8, 16 and 32; ``out_indices`` follow where left out.
        num_classes: K; the class head has one more row, the last, for "no object".
        mode: 'panoptic', 'instance', 'semantic' or several of them: what is predicted. Training is the same for all.
        num_queries, hidden_dim, nheads, enc_layers, enc_feedforward, dec_layers, dim_feedforward, mask_dim: sizes.
        dropout_ratio: in the encoder and the decoder.
        pre_norm: the decoder's layers normalise what enters their parts.
        head_norm: of the pixel decoder's pyramid, see :class:`PixelDecoder`.
        class_weight, mask_weight, dice_weight, no_object_weight, num_points, oversample_ratio,
            importance_sample_ratio, deep_supervision, set_cost_class, set_cost_mask, set_cost_dice: see
            :class:`Mask2FormerCriterion`. Without deep supervision, predictions of earlier layers have no loss.
        tao_compat: TAO's losses over every pixel, and its rule for panoptic segments (see ``object_mask_threshold``).
        object_mask_threshold: panoptic segments come from queries with a higher score, whose best class is not "no
            object"; with ``tao_compat`` also from those whose best class it is.
        overlap_threshold: a panoptic segment that keeps a smaller part of its mask is dropped.
        topk_per_image: most instances per image.
        score_threshold: instances with a lower score are dropped.
        dedup_iou: of instances of one class whose masks overlap more, the best stays; None keeps all.
        boxes_from_masks: instances have the boxes of their masks; False leaves them at zero.
        activation_checkpoint: recompute encoder and decoder layers in the backward pass.
        freeze: dotted names of parts that are not trained; official names such as ``'sem_seg_head.pixel_decoder'`` and
            ``'sem_seg_head.predictor.mask_embed'`` are understood as well.
        data_preprocessor, init_cfg: as in MMEngine.

    Raises:
        ValueError: settings that contradict each other, a backbone with other levels, an unknown name in ``freeze``.
    """

    # what every step runs equally often in all processes, see FSDP2Strategy
    sharded_parts = ('backbone', 'pixel_decoder', 'decoder.layers')
    # what `compile=True` compiles, piece by piece: shapes vary little there, and control flow with the data not at all
    compiled_parts = ('backbone', 'pixel_decoder.encoder.layers', 'decoder.layers')

    def __init__(self, backbone: Mapping, *, num_classes: int, mode: str | Sequence[str] = 'panoptic',
                 num_queries: int = 100, hidden_dim: int = 256, nheads: int = 8, enc_layers: int = 6,
                 enc_feedforward: int = 1024, dec_layers: int = 9, dim_feedforward: int = 2048, mask_dim: int = 256,
                 dropout_ratio: float | int = 0., pre_norm: bool = False, head_norm: str = 'GN',
                 class_weight: float | int = 2., mask_weight: float | int = 5., dice_weight: float | int = 5.,
                 no_object_weight: float | int = 0.1, num_points: int = 12544, oversample_ratio: float | int = 3.,
                 importance_sample_ratio: float | int = 0.75, deep_supervision: bool = True,
                 set_cost_class: float | int | None = None, set_cost_mask: float | int | None = None,
                 set_cost_dice: float | int | None = None,
                 tao_compat: bool = False, object_mask_threshold: float | int = 0.8,
                 overlap_threshold: float | int = 0.8, topk_per_image: int = 100, score_threshold: float | int = 0.,
                 dedup_iou: float | int | None = None, boxes_from_masks: bool = True,
                 activation_checkpoint: bool = False, freeze: Sequence[str] = (),
                 data_preprocessor: Mapping | nn.Module | None = None, init_cfg: dict | list | None = None) -> None:
        if not isinstance(data_preprocessor, nn.Module):
            default = dict(type='DetDataPreprocessor', pad_size_divisor=STRIDES[-1], pad_mask=True)
            data_preprocessor = MODELS.build(data_preprocessor or default)
        super().__init__(data_preprocessor, init_cfg)
        self.num_classes, self.mode = num_classes, _check_mode(mode)
        self.backbone = build_stages(backbone, range(len(STRIDES)))
        _check_strides(self.backbone)
        self.pixel_decoder = PixelDecoder(
            self.backbone.out_channels, hidden_dim=hidden_dim, mask_dim=mask_dim, num_heads=nheads,
            num_layers=enc_layers, feedforward_channels=enc_feedforward, dropout=dropout_ratio, norm=head_norm,
            activation_checkpoint=activation_checkpoint)
        self.decoder = MaskedAttentionDecoder(
            hidden_dim, num_classes=num_classes, num_queries=num_queries, num_layers=dec_layers, mask_dim=mask_dim,
            num_heads=nheads, feedforward_channels=dim_feedforward, dropout=dropout_ratio, pre_norm=pre_norm,
            activation_checkpoint=activation_checkpoint)
        self.criterion = Mask2FormerCriterion(
            class_weight=class_weight, mask_weight=mask_weight, dice_weight=dice_weight,
            no_object_weight=no_object_weight, num_points=num_points, oversample_ratio=oversample_ratio,
            importance_sample_ratio=importance_sample_ratio, deep_supervision=deep_supervision,
            every_pixel=tao_compat, set_cost_class=set_cost_class, set_cost_mask=set_cost_mask,
            set_cost_dice=set_cost_dice)
        self.postprocess = PostprocessSettings(
            mode=self.mode, object_mask_threshold=object_mask_threshold, overlap_threshold=overlap_threshold,
            topk_per_image=topk_per_image, score_threshold=score_threshold, dedup_iou=dedup_iou,
            boxes_from_masks=boxes_from_masks, keep_no_object=tao_compat)
        self.frozen = tuple(part for name in freeze for part in own_parts(name))
        freeze_modules(self, self.frozen)

    def train(self, mode: bool = True) -> 'Mask2Former':
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        freeze_modules(self, self.frozen)
        return self

    def forward(self, inputs: Float[Tensor, 'B 3 H W'], data_samples: Sequence[DetDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[DetDataSample] | MaskPredictions:
        """Run on normalised, padded images.

        Args:
            mode: 'loss' returns scalars by name, 'predict' the samples with what ``self.mode`` asks for
                (``pred_panoptic``, ``pred_instances``, ``pred_sem_seg``), 'tensor' the raw :class:`MaskPredictions`.

        Raises:
            ValueError: another mode.
        """
        if mode == 'loss':
            return self.criterion(self.run(inputs, all_layers=True), data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.run(inputs, all_layers=True)
        raise ValueError(f"mode={mode!r} is not 'loss', 'predict' or 'tensor'.")

    @torch.no_grad()
    def predict(self, inputs: Float[Tensor, 'B 3 H W'], data_samples: Sequence[DetDataSample]) -> list[DetDataSample]:
        """Return the samples with their predictions in the frame of the original images."""
        found = self.run(inputs)
        return add_predictions(found.class_logits[-1], found.mask_logits().float(), data_samples, self.postprocess,
                               is_thing=self.is_thing)

    def run(self, inputs: Float[Tensor, 'B 3 H W'], *, all_layers: bool = False) -> MaskPredictions:
        """Return the raw predictions after the last layer, or all of them."""
        mask_features, memory = self.pixel_decoder(self.backbone(inputs))
        return self.decoder(mask_features, memory, all_layers=all_layers)

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """Of every class, whether its instances are told apart; all are where the data set does not say."""
        meta = getattr(self, 'dataset_meta', None) or {}
        return tuple(meta.get('is_thing') or (True,) * self.num_classes)

    def export_spec(self, *, height: int, width: int, batch_size: int = -1, opset_version: int = 17,
                    dynamic_size: bool = False, on_cpu: bool = True, output: str = 'raw',
                    plugin_version: str = '1') -> ExportSpec:
        """Describe the export; see :mod:`maskforge.models.mask2former.export`.

        Args:
            on_cpu: a file for any runtime; False: TensorRT's plugin nodes, of ``plugin_version``.
            output: ``'raw'``, ``'masks'`` (what the modes promise) or ``'all'``.
        """
        module = Mask2FormerExport(self, output=output, opset_version=opset_version,
                                   plugin_version=None if on_cpu else plugin_version)
        return export_spec(module, height=height, width=width, batch_size=batch_size, dynamic_size=dynamic_size)


def own_parts(name: str) -> list[str]:
    """Return our names of a part with an official or TAO name; ``'sem_seg_head'`` is two of ours."""
    name = name.removeprefix('model.')
    return ['pixel_decoder', 'decoder'] if name == 'sem_seg_head' else [own_name(name)]


def _check_mode(mode: str | Sequence[str]) -> tuple[str, ...]:
    modes = (mode,) if isinstance(mode, str) else tuple(mode)
    unknown = [name for name in modes if name not in MODES]
    if unknown or not modes:
        raise ValueError(f'mode={mode!r}: allowed are {", ".join(MODES)}, or a list of them.')
    return modes


def _check_strides(backbone: nn.Module) -> None:
    if tuple(backbone.strides) != STRIDES:
        raise ValueError(f'Mask2Former needs four levels of a backbone, of strides {STRIDES}; '
                         f'{type(backbone).__name__} gives {tuple(backbone.strides)}. Choose its out_indices.')
