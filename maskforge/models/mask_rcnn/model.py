"""Mask R-CNN (He et al. 2017) and Faster R-CNN (Ren et al. 2015) with a feature pyramid, whole forward path.

    images -> backbone -> neck -> levels -> rpn_head -> proposals -> roi_head -> boxes, classes, masks
"""
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from mmengine.model import BaseModel
from torch import Tensor

from maskforge.models.mask_rcnn.export import MaskRCNNExport, export_spec
from maskforge.models.mask_rcnn.roi_head import to_rois
from maskforge.models.mask_rcnn.settings import ProposalSettings, check_keys, read_settings
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, ExportSpec


@MODELS.register_module()
class MaskRCNN(BaseModel):
    """Two-stage detector with a mask head.

    Args:
        backbone, neck, rpn_head, roi_head, data_preprocessor: configs of MODELS; the neck is optional.
        train_cfg: ``rpn``, ``rpn_proposal`` (``test_cfg.rpn`` if absent) and ``rcnn``; None for a model that only
            predicts. See :mod:`~maskforge.models.mask_rcnn.settings`.
        test_cfg: ``rpn`` and ``rcnn``.

    Raises:
        ValueError: settings that do not exist or do not fit; a model without a mask head (that is ``FasterRCNN``).
    """

    needs_mask_head = True
    # what every step runs equally often in all processes, see FSDP2Strategy
    sharded_parts = ('backbone', 'neck')

    def __init__(self, backbone: Mapping, rpn_head: Mapping, roi_head: Mapping, *, test_cfg: Mapping,
                 neck: Mapping | None = None, train_cfg: Mapping | None = None,
                 data_preprocessor: Mapping | torch.nn.Module | None = None,
                 init_cfg: dict | list | None = None) -> None:
        if not isinstance(data_preprocessor, torch.nn.Module):
            data_preprocessor = MODELS.build(data_preprocessor or dict(type='DetDataPreprocessor'))
        super().__init__(data_preprocessor, init_cfg)
        train, test = dict(train_cfg or {}), dict(test_cfg)
        check_keys(train, ['rpn', 'rpn_proposal', 'rcnn'], 'train_cfg')
        check_keys(test, ['rpn', 'rcnn'], 'test_cfg')
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        self.rpn_head = MODELS.build({**rpn_head, 'train_cfg': train.get('rpn'), 'test_cfg': test.get('rpn')})
        self.roi_head = MODELS.build({**roi_head, 'train_cfg': train.get('rcnn'), 'test_cfg': test.get('rcnn')})
        self.train_proposals = self.rpn_head.test_cfg
        if 'rpn_proposal' in train:
            self.train_proposals = read_settings(ProposalSettings, train['rpn_proposal'], 'train_cfg.rpn_proposal')
        if self.roi_head.with_mask != self.needs_mask_head:
            raise ValueError(f'{type(self).__name__} is built {"with" if self.needs_mask_head else "without"} '
                             f'roi_head.mask_head; the other form is '
                             f'{"FasterRCNN" if self.needs_mask_head else "MaskRCNN"}.')

    @property
    def num_classes(self) -> int:
        """K, without the background."""
        return self.roi_head.num_classes

    def extract_feat(self, inputs: Float[Tensor, 'B C H W']) -> tuple[Float[Tensor, 'B _ _ _'], ...]:
        """Return the pyramid's levels, finest first."""
        features = self.backbone(inputs)
        return tuple(features) if self.neck is None else self.neck(features)

    def forward(self, inputs: Float[Tensor, 'B C H W'], data_samples: Sequence[DetDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[DetDataSample] | tuple:
        """Run on normalised, padded images.

        Args:
            mode: 'loss' returns scalars by name, 'predict' the samples with ``pred_instances``, 'tensor' the raw
                outputs (objectness and offsets per level, then class logits, box offsets and mask logits of the
                proposals).

        Raises:
            ValueError: another mode.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._forward(inputs, data_samples)
        raise ValueError(f"mode={mode!r} is not 'loss', 'predict' or 'tensor'.")

    def loss(self, inputs: Float[Tensor, 'B C H W'], data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Return the five training losses (four without masks).

        Raises:
            ValueError: the model was built without ``train_cfg``.
        """
        if self.rpn_head.train_cfg is None or self.roi_head.train_cfg is None:
            raise ValueError('The losses need model.train_cfg with rpn and rcnn; this model was built without.')
        features = self.extract_feat(inputs)
        outputs = self.rpn_head(features)
        losses = self.rpn_head.loss(outputs, data_samples)
        proposals = self.rpn_head.propose(outputs, [s.img_shape for s in data_samples], self.train_proposals)
        losses.update(self.roi_head.loss(features, proposals, data_samples))
        return losses

    @torch.no_grad()
    def predict(self, inputs: Float[Tensor, 'B C H W'],
                data_samples: Sequence[DetDataSample]) -> list[DetDataSample]:
        """Return the samples with ``pred_instances`` in the frame of the original images."""
        features = self.extract_feat(inputs)
        proposals = self.rpn_head.propose(self.rpn_head(features), [s.img_shape for s in data_samples])
        for sample, found in zip(data_samples, self.roi_head.predict(features, proposals, data_samples)):
            sample.pred_instances = found.to_instances()
        return list(data_samples)

    def _forward(self, inputs: Tensor, data_samples: Sequence[DetDataSample] | None) -> tuple:
        shapes = [inputs.shape[-2:]] * len(inputs) if data_samples is None else [s.img_shape for s in data_samples]
        features = self.extract_feat(inputs)
        outputs = self.rpn_head(features)
        rois = to_rois(self.rpn_head.propose(outputs, shapes))
        raw = (*outputs, *self.roi_head.box_outputs(features, rois))
        return (*raw, self.roi_head.mask_outputs(features, rois)) if self.roi_head.with_mask else raw

    def export_spec(self, *, height: int, width: int, batch_size: int = -1, opset_version: int = 17,
                    max_candidates: int = 1000) -> ExportSpec:
        """Describe the export; see :func:`maskforge.models.mask_rcnn.export.export_spec`."""
        module = MaskRCNNExport(self, (height, width), opset_version=opset_version, max_candidates=max_candidates)
        return export_spec(module, batch_size=batch_size)


@MODELS.register_module()
class FasterRCNN(MaskRCNN):
    """The same detector without a mask head: boxes and classes."""

    needs_mask_head = False
