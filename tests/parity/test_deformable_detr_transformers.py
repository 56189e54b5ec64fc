"""Same weights, same padded batch: our Deformable DETR equals transformers' in every output.

Weights are random and not degenerate (heads, offsets and norms included) and travel through the registered layout.
"""
import copy

import pytest
import torch
from torch import nn

from maskforge.models.deformable_detr import HuggingFaceDeformableDETRLayout
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample

transformers = pytest.importorskip('transformers')

CLASSES, HEIGHT, WIDTH = 7, 160, 192
SHAPES = [(160, 140), (120, 192)]
SMALL = dict(hidden_dim=64, nheads=4, enc_layers=2, dec_layers=3, dim_feedforward=96, num_queries=25)
THEIR_NAMES = dict(hidden_dim='d_model', enc_layers='encoder_layers', dec_layers='decoder_layers',
                   num_queries='num_queries', enc_n_points='encoder_n_points', dec_n_points='decoder_n_points')
RESNET18 = dict(type='ResNet', depth=18, norm_cfg=dict(type='FrozenBN'))
SINGLE = dict(num_feature_levels=1, return_interm_indices=[3])
VARIANTS = {
    'base': {},
    'refine': dict(with_box_refine=True),
    'two-stage': dict(with_box_refine=True, two_stage=True),
    'single scale': SINGLE,
    'single scale, refine, two stages': dict(**SINGLE, with_box_refine=True, two_stage=True),
    'other points': dict(enc_n_points=2, dec_n_points=3),
}


def their_model(sizes: dict, *, depth: int = 18, dilation: bool = False, stages: tuple = (2, 3, 4)) -> nn.Module:
    backbone = transformers.TimmBackboneConfig(backbone=f'resnet{depth}', out_indices=list(stages),
                                               use_pretrained_backbone=False,
                                               **(dict(output_stride=16) if dilation else {}))
    renamed = {THEIR_NAMES.get(name, name): value for name, value in sizes.items()
               if name not in ('nheads', 'dim_feedforward', 'return_interm_indices')}
    config = transformers.DeformableDetrConfig(
        backbone_config=backbone, num_labels=CLASSES, auxiliary_loss=True,
        encoder_attention_heads=sizes['nheads'], decoder_attention_heads=sizes['nheads'],
        encoder_ffn_dim=sizes['dim_feedforward'], decoder_ffn_dim=sizes['dim_feedforward'],
        two_stage_num_proposals=sizes['num_queries'], **renamed)
    model = transformers.DeformableDetrForObjectDetection(config).eval()
    untie(model)
    randomise(model)
    return model


def untie(model: nn.Module) -> None:
    """Built from a config, transformers' refining models share one class head; loaded ones do not."""
    if not model.config.with_box_refine:
        return
    for kind in ('class_embed', 'bbox_embed'):
        heads = nn.ModuleList(copy.deepcopy(head) for head in getattr(model, kind))
        setattr(model, kind, heads)
        if getattr(model.model.decoder, kind) is not None:
            setattr(model.model.decoder, kind, heads)


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    torch.manual_seed(3)
    for name, tensor in model.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.8, 1.2)
        elif tensor.is_floating_point() and 'backbone' in name and tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel())**0.5)
        elif tensor.is_floating_point() and tensor.ndim > 1:
            scale = {'sampling_offsets': 1.0, 'attention_weights': 1.0}.get(name.split('.')[-2], 0.7)
            tensor.normal_(0, scale / tensor.shape[-1]**0.5)
        elif ('norm' in name or 'bn' in name) and name.endswith('weight'):
            tensor.uniform_(0.7, 1.1)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.3 if 'sampling_offsets' not in name else 1.0)


def our_model(theirs: nn.Module, sizes: dict, backbone: dict) -> nn.Module:
    model = MODELS.build(dict(type='DeformableDETR', backbone=backbone, num_classes=CLASSES, **sizes)).eval()
    model.load_state_dict(HuggingFaceDeformableDETRLayout().to_ours(theirs.state_dict(), model),
                          strict=backbone['type'] == 'ResNet')
    return model


def batch() -> tuple[torch.Tensor, torch.Tensor, list[DetDataSample]]:
    torch.manual_seed(0)
    images, mask = torch.zeros(2, 3, HEIGHT, WIDTH), torch.zeros(2, HEIGHT, WIDTH, dtype=torch.long)
    for index, (height, width) in enumerate(SHAPES):
        images[index, :, :height, :width] = torch.randn(3, height, width)
        mask[index, :height, :width] = 1
    return images, mask, [DetDataSample(metainfo=dict(img_shape=shape)) for shape in SHAPES]


@torch.no_grad()
def check(theirs: nn.Module, ours: nn.Module) -> None:
    images, mask, samples = batch()
    # labels only make transformers return all layers
    labels = [dict(class_labels=torch.tensor([1]), boxes=torch.tensor([[0.5, 0.5, 0.2, 0.3]])) for _ in samples]
    wanted, found = theirs(images, pixel_mask=mask, labels=labels), ours(images, samples, mode='tensor')
    layers = [*wanted.auxiliary_outputs, dict(logits=wanted.logits, pred_boxes=wanted.pred_boxes)]
    assert len(found.logits) == len(layers)
    for logits, boxes, layer in zip(found.logits, found.boxes_cxcywh, layers):
        assert (logits - layer['logits']).abs().max() < 2e-5
        assert (boxes - layer['pred_boxes']).abs().max() < 5e-6
    # the case is not degenerate
    assert found.logits.std(dim=2).min() > 1e-3 and found.boxes_cxcywh[..., :2].std(dim=2).min() > 1e-3
    if found.encoder_logits is not None:
        assert (found.encoder_logits - wanted.enc_outputs_class).abs().max() < 2e-5
        assert (found.encoder_boxes_cxcywh - wanted.enc_outputs_coord_logits.sigmoid()).abs().max() < 5e-6
    last = ours.run(images, ~mask.bool())
    assert torch.equal(last.logits[0], found.logits[-1]) and torch.equal(last.boxes_cxcywh[0], found.boxes_cxcywh[-1])


@pytest.mark.parametrize('variant', VARIANTS)
def test_outputs_of_all_layers(variant):
    sizes = {**SMALL, **VARIANTS[variant]}
    theirs = their_model(sizes, stages=(4,) if variant.startswith('single') else (2, 3, 4))
    check(theirs, our_model(theirs, sizes, RESNET18))


def test_the_published_architecture():
    sizes = dict(hidden_dim=256, nheads=8, enc_layers=6, dec_layers=6, dim_feedforward=1024, num_queries=300)
    theirs = their_model(sizes, depth=50)
    check(theirs, our_model(theirs, sizes, dict(RESNET18, depth=50)))


def test_dilated_last_stage_by_timm():
    sizes = {**SMALL, **SINGLE}
    theirs = their_model(sizes, dilation=True, stages=(4,))
    backbone = dict(type='TimmBackbone', model_name='resnet18', output_stride=16)
    ours = our_model(theirs, sizes, backbone)
    assert ours.backbone.strides == (16,)
    check(theirs, ours)


def test_padding_in_the_values_is_what_taos_networks_differ_in():
    theirs = their_model(SMALL)
    masked, tao = (our_model(theirs, {**SMALL, 'mask_value': flag}, RESNET18) for flag in (True, False))
    images, _, samples = batch()
    with torch.no_grad():
        difference = masked(images, samples).logits - tao(images, samples).logits
        full = masked(images).logits - tao(images).logits
    assert difference.abs().max() > 1e-2
    assert not full.any()
