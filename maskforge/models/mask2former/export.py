"""Mask2Former as one exportable module: images in, the decoder's raw outputs or finished maps and masks out.

The network reads padding as image (as in PyTorch, where no part of it masks padding), so a file takes images as the
test pipeline makes them: shrunk with their aspect ratio kept, padded below and to the right with what normalises to
zero. A file of dynamic size takes any multiples of 32 pixels. Masks of raw outputs lose the padding before anything is
counted, and predict what PyTorch predicts; finished outputs are in the frame of the input with its padding, which
counts in the scores of instances and the shares of segments.

Legend: B images, H W input pixels, h w a quarter of them, Q queries, K classes, D instances.
"""
import copy
import math
from contextlib import AbstractContextManager
from dataclasses import asdict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.attention import make_attention_explicit
from maskforge.models.mask2former.export_outputs import instance_outputs, panoptic_outputs, semantic_outputs
from maskforge.ops.deformable_attention import attention_implementation
from maskforge.ops.tensorrt_plugin import PLUGIN_DOMAIN, attention_as_plugin
from maskforge.structures import ExportSpec

FIRST_OPSET_WITH_GRID_SAMPLE = 16
RAW = ('pred_logits', 'pred_masks')
FINISHED = {'panoptic': ('panoptic_map', 'segment_scores', 'segment_labels'),
            'instance': ('boxes', 'scores', 'labels', 'masks'), 'semantic': ('semantic_map', 'semantic_scores')}
OUTPUTS = ('raw', 'masks', 'all')
MEANINGS = dict(
    pred_logits='class logits of every query, no-object last', pred_masks='mask logits of every query, stride 4',
    panoptic_map='0 is void, k is segment k of the input', segment_scores='0 to 1 of segment k in row k - 1; 0: empty',
    segment_labels='index into classes of segment k in row k - 1', boxes='xyxy in input pixels, tight around the mask',
    scores='0 to 1, falling; 0 marks an empty row', labels='index into classes', masks='1 inside, at the input size',
    semantic_map='index into classes of every pixel of the input', semantic_scores='of the class of every pixel')
#: logits are far from 1; a pixel whose attention changes sides in rounding moves all of them a little
TOLERANCE = dict(pred_logits=1e-3, pred_masks=1e-2, scores=1e-3, labels=0.0, segment_scores=1e-3, segment_labels=0.0,
                 semantic_scores=1e-3)
#: a pixel between two classes may go either way
DIFFERING = dict(panoptic_map=1e-3, semantic_map=1e-3, masks=1e-3, boxes=1e-2)
#: pixels; two tokens a side on the level of stride 32
SMALLEST_EXAMPLE = 64


class Mask2FormerExport(nn.Module):
    """The exported computation; normalisation included.

    Args:
        model: copied, in evaluation mode.
        output: ``'raw'`` (pred_logits, pred_masks), ``'masks'`` (what the model's modes promise) or ``'all'``.
        opset_version: below 16, samples are gathered: those operator sets have no GridSample.
        plugin_version: version of TensorRT's plugin whose nodes stand for deformable attention; None for none.

    Attributes:
        names: of the outputs.

    Raises:
        ValueError: an unknown output or version; finished instances with ``dedup_iou``.
    """

    def __init__(self, model: nn.Module, *, output: str, opset_version: int, plugin_version: str | None) -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise ValueError(f"export_cfg.model_options.output={output!r} is not one of {', '.join(OUTPUTS)}.")
        self.model = copy.deepcopy(model).eval()
        make_attention_explicit(self.model)
        self.settings = self.model.postprocess
        finished = tuple(name for mode in self.settings.mode for name in FINISHED[mode])
        self.names = (RAW if output != 'masks' else ()) + (finished if output != 'raw' else ())
        if 'masks' in self.names and self.settings.dedup_iou is not None:
            raise ValueError(f'export_cfg.model_options.output={output!r}: the file cannot drop duplicates as '
                             f"model.dedup_iou={self.settings.dedup_iou} asks for. Export output='raw', whose reader "
                             f'drops them, or set dedup_iou=None.')
        # the last: no-object
        self.register_buffer('is_thing', torch.tensor([*self.model.is_thing, True]), persistent=False)
        self.plugin_version = plugin_version
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
            images: values 0 to 255 in the network's channel order, padded below and to the right to multiples of 32.

        Returns:
            the outputs named in ``names``: pred_logits (B, Q, K + 1), pred_masks (B, Q, h, w), and those of
            :mod:`~maskforge.models.mask2former.export_outputs`.
        """
        with self._attention():
            found = self.model.run(self.model.data_preprocessor.normalise(images))
        outputs = dict(pred_logits=found.class_logits[-1], pred_masks=found.mask_logits())
        if self.names != RAW:
            outputs.update(self._finish(images, **outputs))
        return tuple(outputs[name] for name in self.names)

    def _finish(self, images: Tensor, pred_logits: Tensor, pred_masks: Tensor) -> dict[str, Tensor]:
        modes, found = self.settings.mode, {}
        logits = F.interpolate(pred_masks, size=images.shape[-2:], mode='bilinear', align_corners=False)
        probs = logits.sigmoid()
        if 'panoptic' in modes:
            found.update(panoptic_outputs(pred_logits, probs, self.settings, self.is_thing))
        if 'instance' in modes:
            wanted = self.is_thing if 'panoptic' in modes else torch.ones_like(self.is_thing)
            found.update(instance_outputs(pred_logits, logits, probs, self.settings, wanted))
        if 'semantic' in modes:
            found.update(semantic_outputs(pred_logits, probs))
        return found


def export_spec(module: Mask2FormerExport, *, height: int, width: int, batch_size: int = -1,
                dynamic_size: bool = False) -> ExportSpec:
    """Describe the exported file.

    Args:
        height, width: of the input, multiples of 32; of the traced example where the size is dynamic.
        batch_size: images per call; -1 leaves it open.
        dynamic_size: leave height and width open as well.

    Raises:
        ValueError: a batch size that is neither positive nor -1, a size that 32 does not divide.
    """
    if batch_size == 0 or batch_size < -1:
        raise ValueError(f'batch_size must be positive, or -1 for a dynamic batch; got {batch_size}.')
    divisor = module.model.backbone.strides[-1]
    if height % divisor or width % divisor:
        raise ValueError(f'Export size (height, width) = {(height, width)} must be multiples of {divisor}, the '
                         f'coarsest stride of the network.')
    axes = {name: {0: 'batch'} for name in ('inputs', *module.names)} if batch_size == -1 else {}
    if dynamic_size:
        axes.setdefault('inputs', {}).update({2: 'height', 3: 'width'})
        # torch.export takes an axis of length 1 for a constant, on the coarsest level as well
        height, width = (max(side, SMALLEST_EXAMPLE) for side in (height, width))
    # two images, for the same reason
    example = torch.rand(batch_size if batch_size > 0 else 2, 3, height, width) * 255
    instances = tuple(name for name in FINISHED['instance'] if name in module.names)
    return ExportSpec(module=module.eval(), example_inputs=(example,), input_names=['inputs'],
                      output_names=list(module.names), dynamic_axes=axes, metadata=_metadata(module),
                      tolerance={name: TOLERANCE[name] for name in module.names if name in TOLERANCE},
                      differing={name: DIFFERING[name] for name in module.names if name in DIFFERING},
                      valid_output='scores' if instances else None, row_outputs=instances,
                      plugins=(PLUGIN_DOMAIN,) if module.plugin_version is not None else ())


def _metadata(module: Mask2FormerExport) -> dict:
    model = module.model
    meta = getattr(model, 'dataset_meta', None) or {}
    return {
        'task': 'segmentation', 'model': type(model).__name__, 'num_classes': model.num_classes,
        'postprocess': asdict(module.settings), 'is_thing': [bool(flag) for flag in model.is_thing],
        'classes': list(meta.get('classes', ())), 'category_ids': list(meta.get('category_ids', ())),
        'palette': [list(colour) for colour in meta.get('palette') or ()],
        'preprocessing': dict(channel_order=model.data_preprocessor.channel_order, pads=True, pad_size_divisor=math.lcm(
            model.data_preprocessor.pad_size_divisor, model.backbone.strides[-1])),
        'outputs': {name: MEANINGS[name] for name in module.names},
    }
