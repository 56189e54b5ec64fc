"""Mask R-CNN as one exportable module: images in, a fixed number of detections out.

It runs the model's own layers; what is rewritten is what has a data-dependent shape in the eager path: proposals and
detections keep fixed counts, and dropped rows carry score 0. Two things differ from ``predict``: suppression takes
place in the frame of the input (``predict``: of the original image), and of one image at most ``max_candidates``
class scores enter it.

Legend: B images, H W input pixels, N anchors that are decoded, P proposals, C candidates, D detections, T mask side.
"""
import copy
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maskforge.layers import RoIAlign
from maskforge.ops import clip_boxes, larger_than, nms_mask, roi_align
from maskforge.structures import ExportSpec

FIRST_OPSET_WITH_ALIGNED = 16
TOLERANCE = dict(boxes=1e-2, scores=1e-3, labels=0.0, masks=1e-2)


class ShiftedRoIAlign(nn.Module):
    """Aligned RoIAlign by the older operator, whose regions have at least one cell: for opsets below 16."""

    def __init__(self, layer: RoIAlign) -> None:
        super().__init__()
        self.layer = layer

    @property
    def output_size(self) -> int:
        """Side of the grid."""
        return self.layer.output_size

    def forward(self, features: Float[Tensor, 'B C H W'], rois: Float[Tensor, 'R 5']) -> Float[Tensor, 'R C S S']:
        """Return the pooled regions."""
        scale = self.layer.spatial_scale
        shifted = rois - rois.new_tensor([0.0, *[0.5 / scale] * 4])
        return roi_align(features, shifted, output_size=self.layer.output_size, spatial_scale=scale,
                         sampling_ratio=self.layer.sampling_ratio, aligned=False)


def exportable_extractor(extractor: nn.Module, opset_version: int) -> nn.Module:
    """Return the extractor, or a copy without aligned RoIAlign where the opset lacks it."""
    if opset_version >= FIRST_OPSET_WITH_ALIGNED:
        return extractor
    extractor = copy.deepcopy(extractor)
    extractor.roi_layers = nn.ModuleList(
        ShiftedRoIAlign(layer) if layer.aligned else layer for layer in extractor.roi_layers)
    return extractor


class MaskRCNNExport(nn.Module):
    """The exported computation; normalisation included.

    Args:
        model: in evaluation mode afterwards.
        size: (height, width) of the input; the file is for this size.
        opset_version: below 16, RoIAlign is written in its older form.
        max_candidates: class scores per image that enter the last suppression.

    Raises:
        ValueError: a size that the model's ``pad_size_divisor`` does not divide.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int], *, opset_version: int, max_candidates: int) -> None:
        super().__init__()
        divisor = model.data_preprocessor.pad_size_divisor
        if size[0] % divisor or size[1] % divisor:
            raise ValueError(f'Export size (height, width) = {size} must be multiples of '
                             f'data_preprocessor.pad_size_divisor={divisor}.')
        self.model, self.size = model.eval(), size
        self.rpn, self.roi = model.rpn_head, model.roi_head
        self.box_extractor = exportable_extractor(self.roi.bbox_roi_extractor, opset_version)
        self.mask_extractor = None
        if self.roi.with_mask:
            extractor = self.roi.mask_roi_extractor or self.roi.bbox_roi_extractor
            self.mask_extractor = exportable_extractor(extractor, opset_version)
        self._set_counts(max_candidates)

    def _set_counts(self, max_candidates: int) -> None:
        device = next(self.model.parameters()).device
        with torch.no_grad():
            outputs = self.rpn(self.model.extract_feat(torch.zeros(1, 3, *self.size, device=device)))
        anchors = self.rpn.level_anchors(outputs)
        for index, level in enumerate(anchors):
            self.register_buffer(f'anchors{index}', level, persistent=False)
        self.tops = self.rpn.tops(anchors, self.rpn.test_cfg.nms_pre)
        self.num_proposals = min(self.rpn.test_cfg.max_per_img, sum(self.tops))
        self.num_candidates = min(max_candidates, self.num_proposals * self.roi.num_classes)
        limit = self.roi.test_cfg.max_per_img
        self.num_detections = min(limit, self.num_candidates) if limit > 0 else self.num_candidates

    def forward(self, images: Float[Tensor, 'B C H W']) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            images: values 0 to 255 in the network's channel order, padded at the bottom and right.

        Returns:
            boxes (B, D, 4) xyxy in input pixels, scores (B, D) by falling score and 0 for empty rows, labels (B, D)
            int64, and with a mask head masks (B, D, T, T): probabilities over each box.
        """
        features = self.model.extract_feat(self.model.data_preprocessor.normalise(images))
        proposals, valid = self._propose(features)
        logits, offsets = self.roi.bbox_head(
            self.box_extractor(features[:self.box_extractor.num_inputs], _to_rois(proposals)))
        boxes, scores, labels = self._detect(proposals, valid, logits, offsets)
        if self.mask_extractor is None:
            return boxes, scores, labels
        pooled = self.mask_extractor(features[:self.mask_extractor.num_inputs], _to_rois(boxes))
        masks = self.roi.mask_head.select(self.roi.mask_head(pooled), labels.reshape(-1)).sigmoid()
        side = self.roi.mask_head.mask_size
        return boxes, scores, labels, masks.reshape(-1, self.num_detections, side, side)

    def _propose(self, features: Sequence[Tensor]) -> tuple[Float[Tensor, 'B P 4'], Tensor]:
        anchors = [getattr(self, f'anchors{index}') for index in range(len(self.tops))]
        boxes, logits, levels = self.rpn.candidates(self.rpn(features), anchors, self.tops)
        boxes = clip_boxes(boxes, self.size)
        settings = self.rpn.test_cfg
        large = larger_than(boxes, settings.min_bbox_size)
        keep = self._suppress(boxes, logits, levels.expand_as(logits), len(self.tops), settings.nms['iou_threshold'])
        ranked = torch.where(keep & large, logits.sigmoid(), -torch.ones_like(logits)).topk(self.num_proposals, dim=1)
        return _take(boxes, ranked.indices), ranked.values >= 0

    def _detect(self, proposals: Tensor, valid: Tensor, logits: Tensor,
                offsets: Tensor) -> tuple[Float[Tensor, 'B D 4'], Float[Tensor, 'B D'], Int[Tensor, 'B D']]:
        count, settings = self.roi.num_classes, self.roi.test_cfg
        scores = logits.float().softmax(dim=1)[:, :-1].reshape(-1, self.num_proposals, count) * valid[..., None]
        scores = torch.where(scores > settings.score_thr, scores, torch.zeros_like(scores))
        best = scores.reshape(-1, self.num_proposals * count).topk(self.num_candidates, dim=1)
        rows, labels = torch.div(best.indices, count, rounding_mode='floor'), best.indices % count
        decoded = clip_boxes(self.roi.bbox_head.decode(proposals.reshape(-1, 4), offsets), self.size)
        agnostic = self.roi.bbox_head.reg_class_agnostic
        boxes = _take(decoded.reshape(-1, self.num_proposals * (1 if agnostic else count), 4),
                      rows if agnostic else best.indices)
        keep = self._suppress(boxes, best.values, labels, count, settings.nms['iou_threshold'])
        final = torch.where(keep, best.values, torch.zeros_like(best.values)).topk(self.num_detections, dim=1)
        filled = (final.values > 0)[..., None]
        return _take(boxes, final.indices) * filled, final.values, labels.gather(1, final.indices)

    def _suppress(self, boxes: Tensor, scores: Tensor, groups: Tensor, num_groups: int,
                  threshold: float | int) -> Tensor:
        """Return which boxes of each image stay; one call for the batch, its groups laid out as tiles of a plane."""
        side = math.ceil(math.sqrt(num_groups))
        image = torch.arange(boxes.shape[0], device=boxes.device)[:, None]
        column = groups % side
        row = image * math.ceil(num_groups / side) + torch.div(groups, side, rounding_mode='floor')
        tile = torch.stack((column, row, column, row), dim=-1) * (max(self.size) + 1.0)
        keep = nms_mask((boxes + tile).reshape(-1, 4), scores.reshape(-1), iou_threshold=threshold)
        return keep.reshape(scores.shape)


def export_spec(module: MaskRCNNExport, *, batch_size: int = -1) -> ExportSpec:
    """Describe the exported file.

    Args:
        batch_size: images per call; -1 leaves it open.

    Raises:
        ValueError: a batch size that is neither positive nor -1.
    """
    if batch_size == 0 or batch_size < -1:
        raise ValueError(f'batch_size must be positive, or -1 for a dynamic batch; got {batch_size}.')
    names = ['boxes', 'scores', 'labels', *(['masks'] if module.mask_extractor is not None else [])]
    dynamic = {name: {0: 'batch'} for name in ['images', *names]} if batch_size == -1 else {}
    device = next(module.model.parameters()).device
    # two images: an exporter takes a batch of one for a constant
    example = torch.rand(batch_size if batch_size > 0 else 2, 3, *module.size, device=device) * 255
    return ExportSpec(module=module.eval(), example_inputs=(example,), input_names=['images'], output_names=names,
                      dynamic_axes=dynamic, metadata=_metadata(module), valid_output='scores',
                      tolerance={name: TOLERANCE[name] for name in names})


def _metadata(module: MaskRCNNExport) -> dict:
    preprocessor, meta = module.model.data_preprocessor, getattr(module.model, 'dataset_meta', None) or {}
    mean = [0.0] * 3 if preprocessor.mean is None else preprocessor.mean.flatten().tolist()
    masks = module.mask_extractor is not None
    return {
        'task': 'instance_segmentation' if masks else 'object_detection',
        'model': type(module.model).__name__,
        'num_classes': module.roi.num_classes,
        'classes': list(meta.get('classes', ())),
        'category_ids': list(meta.get('category_ids', ())),
        'palette': [list(colour) for colour in meta.get('palette') or ()],
        'preprocessing': {
            'channel_order': preprocessor.channel_order, 'range': [0, 255], 'layout': 'NCHW',
            'height': module.size[0], 'width': module.size[1], 'resize': 'keep_ratio', 'pad': 'bottom_right',
            # the network's padding is pad_value after normalisation
            'pad_value': mean if preprocessor.pad_value == 0 else _pad_colour(preprocessor, mean),
        },
        'outputs': {
            'boxes': 'xyxy in input pixels', 'scores': '0 to 1 by falling score, 0 marks an empty row',
            'labels': 'index into classes', **({'masks': 'probabilities over the box'} if masks else {}),
        },
        'mask_threshold': module.roi.test_cfg.mask_thr_binary,
        'score_threshold': module.roi.test_cfg.score_thr,
    }


def _pad_colour(preprocessor: nn.Module, mean: list[float]) -> list[float]:
    std = [1.0] * len(mean) if preprocessor.std is None else preprocessor.std.flatten().tolist()
    return [preprocessor.pad_value * s + m for s, m in zip(std, mean)]


def _to_rois(boxes: Float[Tensor, 'B P 4']) -> Float[Tensor, 'R 5']:
    image = torch.arange(boxes.shape[0], device=boxes.device).to(boxes)[:, None, None]
    return torch.cat((image.expand(-1, boxes.shape[1], 1), boxes), dim=2).reshape(-1, 5)


def _take(boxes: Float[Tensor, 'B N 4'], indices: Int[Tensor, 'B P']) -> Float[Tensor, 'B P 4']:
    return boxes.gather(1, indices[..., None].expand(-1, -1, 4))
