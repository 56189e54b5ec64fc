"""Region proposal network: objectness and box offsets for every anchor (Ren et al. 2015, section 3.1).

Legend: B images, A anchors per cell, N anchors of all levels, H W cells of a level.
"""
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers import ConvNorm
from maskforge.models.mask_rcnn.settings import ProposalSettings, RPNTrainSettings, read_settings
from maskforge.ops import clip_boxes, grouped_nms, larger_than
from maskforge.registry import MODELS, TASK_UTILS

LevelOutputs = tuple[list[Tensor], list[Tensor]]


@MODELS.register_module()
class RPNHead(BaseModule):
    """Proposes boxes.

    Args:
        in_channels, feat_channels: of the levels and inside.
        num_convs: 3x3 convolutions with ReLU before the two predictions.
        anchor_generator, bbox_coder: configs of TASK_UTILS.
        loss_cls, loss_bbox: configs of MODELS; ``loss_cls`` is a sigmoid loss.
        train_cfg, test_cfg: :class:`RPNTrainSettings` and :class:`ProposalSettings`; the detector hands them over.

    Raises:
        ValueError: levels with different numbers of anchors per cell; an unknown setting.
    """

    def __init__(self, in_channels: int, *, anchor_generator: Mapping, bbox_coder: Mapping, loss_cls: Mapping,
                 loss_bbox: Mapping, feat_channels: int = 256, num_convs: int = 1, train_cfg: Mapping | None = None,
                 test_cfg: Mapping | None = None, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.anchors, self.coder = TASK_UTILS.build(anchor_generator), TASK_UTILS.build(bbox_coder)
        self.loss_cls, self.loss_bbox = MODELS.build(loss_cls), MODELS.build(loss_bbox)
        self.test_cfg = read_settings(ProposalSettings, test_cfg or {}, 'test_cfg.rpn')
        self.train_cfg = None
        if train_cfg is not None:
            self.train_cfg = read_settings(RPNTrainSettings, train_cfg, 'train_cfg.rpn')
            self.assigner = TASK_UTILS.build(self.train_cfg.assigner)
            self.sampler = TASK_UTILS.build(self.train_cfg.sampler)
        counts = set(self.anchors.num_base_priors)
        if len(counts) != 1:
            raise ValueError(f'RPNHead needs the same number of anchors on every level, got {sorted(counts)}.')
        self._build_layers(in_channels, feat_channels, num_convs, counts.pop())

    def _build_layers(self, in_channels: int, channels: int, num_convs: int, anchors: int) -> None:
        if num_convs == 1:
            self.rpn_conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        else:
            self.rpn_conv = nn.Sequential(
                *(ConvNorm(in_channels if i == 0 else channels, channels) for i in range(num_convs)))
        self.rpn_cls = nn.Conv2d(channels, anchors, 1)
        self.rpn_reg = nn.Conv2d(channels, anchors * 4, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Float[Tensor, 'B C _ _']]) -> LevelOutputs:
        """Return per level the objectness logits (B, A, H, W) and offsets (B, 4A, H, W), anchor-major."""
        hidden = [self.rpn_conv(level) for level in features]
        if isinstance(self.rpn_conv, nn.Conv2d):  # blocks of several end with an activation of their own
            hidden = [F.relu_(level) for level in hidden]
        return [self.rpn_cls(level) for level in hidden], [self.rpn_reg(level) for level in hidden]

    def flatten(self, outputs: LevelOutputs) -> tuple[list[Float[Tensor, 'B _']], list[Float[Tensor, 'B _ 4']]]:
        """Return per level logits (B, HWA) and offsets (B, HWA, 4) in the anchors' order, float32."""
        logits = [level.permute(0, 2, 3, 1).flatten(1).float() for level in outputs[0]]
        deltas = [level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, 4).float() for level in outputs[1]]
        return logits, deltas

    def level_anchors(self, outputs: LevelOutputs) -> list[Float[Tensor, '_ 4']]:
        """Return each level's anchors for these outputs' sizes."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in outputs[0]]
        return self.anchors.grid_priors(sizes, device=outputs[0][0].device)

    @staticmethod
    def tops(anchors: Sequence[Float[Tensor, '_ 4']], nms_pre: int) -> list[int]:
        """Return how many anchors of each level are decoded: ``nms_pre`` (0 or less: all), or as many as there are."""
        return [min(nms_pre, len(level)) if nms_pre > 0 else len(level) for level in anchors]

    def candidates(self, outputs: LevelOutputs, anchors: Sequence[Float[Tensor, '_ 4']], tops: Sequence[int]) -> tuple[
            Float[Tensor, 'B N 4'], Float[Tensor, 'B N'], Int[Tensor, ' N']]:
        """Return the boxes and logits of the best anchors of each level, and their level; not clipped."""
        boxes, scores, levels = [], [], []
        for index, (logits, deltas, level, count) in enumerate(zip(*self.flatten(outputs), anchors, tops)):
            top = logits.topk(count, dim=1)
            chosen = deltas.gather(1, top.indices[..., None].expand(-1, -1, 4))
            boxes.append(self.coder.decode(level[top.indices], chosen))
            scores.append(top.values)
            levels.append(torch.full_like(top.indices[0], index))
        return torch.cat(boxes, dim=1), torch.cat(scores, dim=1), torch.cat(levels)

    @torch.no_grad()
    def propose(self, outputs: LevelOutputs, shapes: Sequence[Sequence[int]],
                settings: ProposalSettings | None = None) -> list[Float[Tensor, '_ 4']]:
        """Return each image's proposals by falling objectness, clipped to its (height, width) in ``shapes``."""
        settings = settings or self.test_cfg
        anchors = self.level_anchors(outputs)
        boxes, logits, levels = self.candidates(outputs, anchors, self.tops(anchors, settings.nms_pre))
        proposals = []
        for image_boxes, image_logits, shape in zip(boxes, logits, shapes):
            clipped = clip_boxes(image_boxes, shape) if self.coder.clip_border else image_boxes
            large = larger_than(clipped, settings.min_bbox_size).nonzero()[:, 0]  # the host waits once, not thrice
            clipped, score, level = clipped[large], image_logits[large].sigmoid(), levels[large]
            keep = grouped_nms(clipped, score, level, iou_threshold=settings.nms['iou_threshold'])
            proposals.append(clipped[keep[:settings.max_per_img]])
        return proposals

    def loss(self, outputs: LevelOutputs, samples: Sequence) -> dict[str, Tensor]:
        """Return ``loss_rpn_cls`` and ``loss_rpn_bbox``: sums over the sampled anchors of the batch / their number."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in outputs[0]]
        logits, deltas = (torch.cat(levels, dim=1) for levels in self.flatten(outputs))
        anchors = torch.cat(self.level_anchors(outputs))
        chosen = [self._sample(anchors, sizes, sample) for sample in samples]
        score = torch.cat([torch.cat((row[pos], row[neg])) for row, (pos, neg, _) in zip(logits, chosen)])
        positive = torch.cat([torch.cat((pos >= 0, neg < 0)) for pos, neg, _ in chosen])
        weight = torch.ones_like(score)
        if self.train_cfg.pos_weight > 0:
            weight = weight.masked_fill(positive, self.train_cfg.pos_weight)
        targets = torch.cat([self.coder.encode(anchors[pos], truth) for pos, _, truth in chosen])
        offsets = torch.cat([row[pos] for row, (pos, _, _) in zip(deltas, chosen)])
        count = max(len(score), 1)
        # class 0 is the object, 1 (= the number of classes) the background
        return {'loss_rpn_cls': self.loss_cls(score[:, None], (~positive).long(), weight, avg_factor=count),
                'loss_rpn_bbox': self.loss_bbox(offsets, targets, avg_factor=count)}

    def _sample(self, anchors: Tensor, sizes: list[tuple[int, int]], sample) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image's positive anchors, negative anchors, and the positives' true boxes."""
        inside = self._usable(anchors, sizes, sample).nonzero()[:, 0]
        truth = sample.gt_instances.bboxes
        ignored = sample.ignored_instances.bboxes if 'ignored_instances' in sample else None
        matches = self.assigner.assign(anchors[inside], truth, ignored)
        positive, negative = self.sampler.sample(matches)
        return inside[positive], inside[negative], truth[matches[positive]].float()

    def _usable(self, anchors: Tensor, sizes: list[tuple[int, int]], sample) -> Tensor:
        usable = self.anchors.valid_flags(sizes, sample.metainfo.get('pad_shape', sample.img_shape),
                                          device=anchors.device)
        border = self.train_cfg.allowed_border
        if border >= 0:
            height, width = sample.img_shape[:2]
            usable &= (anchors[:, :2] >= -border).all(dim=1)
            usable &= (anchors[:, 2] < width + border) & (anchors[:, 3] < height + border)
        return usable
