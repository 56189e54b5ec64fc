"""Deformable DETR as one exportable module: images in, the decoder's raw outputs or detections out.

The file has no mask of padding: an image fills its input. A fixed file therefore takes images that were stretched to
its size (as TAO's do), a file with dynamic size takes them at any size; several images of one call have one size.

Legend: B images, H W input pixels, Q queries, K classes, D detections.
"""
import copy
from contextlib import AbstractContextManager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.layers.attention import make_attention_explicit
from maskforge.models.deformable_detr.postprocess import best_detections
from maskforge.ops.deformable_attention import attention_implementation
from maskforge.ops.tensorrt_plugin import PLUGIN_DOMAIN, attention_as_plugin
from maskforge.structures import ExportSpec

FIRST_OPSET_WITH_GRID_SAMPLE = 16
RAW, DETECTIONS = ('pred_logits', 'pred_boxes'), ('boxes', 'scores', 'labels')
OUTPUTS = {'raw': RAW, 'detections': DETECTIONS, 'all': RAW + DETECTIONS}
MEANINGS = dict(pred_logits='class logits of every query, before the sigmoid',
                pred_boxes='cxcywh of every query, 0 to 1 of the input', boxes='xyxy in input pixels',
                scores='0 to 1, falling; 0 marks an empty row', labels='index into classes')
TOLERANCE = 1e-4
#: pixels; two tokens a side on a level of stride 64
SMALLEST_EXAMPLE = 128


class DeformableDETRExport(nn.Module):
    """The exported computation; normalisation included.

    Args:
        model: copied, in evaluation mode.
        output: ``'raw'`` (pred_logits, pred_boxes), ``'detections'`` (boxes, scores, labels) or ``'all'``.
        opset_version: below 16, samples are gathered: those operator sets have no GridSample.
        plugin_version: version of TensorRT's plugin whose nodes stand for deformable attention; None for none.

    Raises:
        ValueError: an unknown output or version.
    """

    def __init__(self, model: nn.Module, *, output: str, opset_version: int, plugin_version: str | None) -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise ValueError(f"export_cfg.model_options.output={output!r} is not one of {', '.join(OUTPUTS)}.")
        self.model = copy.deepcopy(model).eval()
        make_attention_explicit(self.model)
        self.names, self.plugin_version = OUTPUTS[output], plugin_version
        self.sampling = 'grid_sample' if opset_version >= FIRST_OPSET_WITH_GRID_SAMPLE else 'gather'
        with self._attention():
            pass  # an unknown version of the plugin is told before the export

    def _attention(self) -> AbstractContextManager:
        if self.plugin_version is not None:
            return attention_as_plugin(self.plugin_version)
        return attention_implementation(self.sampling)

    def forward(self, images: Float[Tensor, 'B C H W']) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            images: values 0 to 255 in the network's channel order, without padding.

        Returns:
            the outputs named in ``names``: pred_logits (B, Q, K), pred_boxes (B, Q, 4) cxcywh in [0, 1], boxes
            (B, D, 4) xyxy in input pixels, scores (B, D) falling (0 below the model's ``conf_threshold``), labels
            (B, D) int64.
        """
        with self._attention():
            found = self.model.run(self.model.data_preprocessor.normalise(images))
        outputs = dict(pred_logits=found.logits[-1], pred_boxes=found.boxes_cxcywh[-1])
        if self.names != RAW:
            outputs.update(self._detect(images, **outputs))
        return tuple(outputs[name] for name in self.names)

    def _detect(self, images: Tensor, pred_logits: Tensor, pred_boxes: Tensor) -> dict[str, Tensor]:
        count = min(self.model.num_select, self.num_queries * self.model.num_classes)
        boxes, scores, labels = best_detections(pred_logits, pred_boxes, count)
        height, width = images.shape[-2:]
        size = torch.stack([boxes.new_full((), side) for side in (width, height, width, height)])
        kept = (scores >= self.model.conf_threshold).to(scores.dtype)
        return dict(boxes=boxes * size, scores=scores * kept, labels=labels)

    @property
    def num_queries(self) -> int:
        """Q."""
        owner = self.model.proposals
        return self.model.query_embed.num_embeddings if owner is None else owner.num_queries


def export_spec(module: DeformableDETRExport, *, height: int, width: int, batch_size: int = -1,
                dynamic_size: bool = False) -> ExportSpec:
    """Describe the exported file.

    Args:
        height, width: of the input; of the traced example where the size is dynamic.
        batch_size: images per call; -1 leaves it open.
        dynamic_size: leave height and width open as well.

    Raises:
        ValueError: a batch size that is neither positive nor -1.
    """
    if batch_size == 0 or batch_size < -1:
        raise ValueError(f'batch_size must be positive, or -1 for a dynamic batch; got {batch_size}.')
    axes = {name: {0: 'batch'} for name in ('inputs', *module.names)} if batch_size == -1 else {}
    if dynamic_size:
        axes.setdefault('inputs', {}).update({2: 'height', 3: 'width'})
        # torch.export takes an axis of length 1 for a constant, on the coarsest level as well
        height, width = (max(side, SMALLEST_EXAMPLE) for side in (height, width))
    # two images, for the same reason
    example = torch.rand(batch_size if batch_size > 0 else 2, 3, height, width) * 255
    tolerance = dict.fromkeys(module.names, TOLERANCE) | dict(labels=0.0, boxes=TOLERANCE * max(height, width))
    detects = 'scores' in module.names
    return ExportSpec(module=module.eval(), example_inputs=(example,), input_names=['inputs'],
                      output_names=list(module.names), dynamic_axes=axes,
                      metadata=_metadata(module, stretched=not dynamic_size),
                      tolerance={name: tolerance[name] for name in module.names},
                      valid_output='scores' if detects else None,
                      unordered=tuple(name for name in RAW if name in module.names),
                      plugins=(PLUGIN_DOMAIN,) if module.plugin_version is not None else ())


def _metadata(module: DeformableDETRExport, *, stretched: bool) -> dict:
    model = module.model
    meta = getattr(model, 'dataset_meta', None) or {}
    rule = dict(channel_order=model.data_preprocessor.channel_order, pads=False)
    if stretched:
        rule.update(keep_ratio=False, scale=None)
    return {
        'task': 'object_detection', 'model': type(model).__name__, 'num_classes': model.num_classes,
        'num_select': model.num_select, 'score_threshold': model.conf_threshold,
        'clip_boxes': False,
        'classes': list(meta.get('classes', ())), 'category_ids': list(meta.get('category_ids', ())),
        'palette': [list(colour) for colour in meta.get('palette') or ()],
        'preprocessing': rule, 'outputs': {name: MEANINGS[name] for name in module.names},
    }
