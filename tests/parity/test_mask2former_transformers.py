"""Same weights, same padded batch: our Mask2Former equals transformers' in every layer's classes and masks.

Weights are random and not degenerate (heads, offsets and norms included) and travel through the registered layouts.
Masks for attention come from resized mask features here and from resized masks there. Both are the same up to
rounding, so that a logit of about 1e-6 could fall on either side of zero: it does not with these seeds.
"""
import pytest
import torch
from torch import nn

from maskforge.checkpoints import load_weights
from maskforge.models.mask2former import HuggingFaceHubMask2FormerLayout, HuggingFaceMask2FormerLayout
from maskforge.registry import MODELS

transformers = pytest.importorskip('transformers')

CLASSES, HEIGHT, WIDTH = 5, 96, 160
SHAPES = [(96, 140), (70, 160)]
STAGES = ['stage1', 'stage2', 'stage3', 'stage4']
SMALL_SWIN = dict(embed_dim=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=4, image_size=128)
TINY_SWIN = dict(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, image_size=224)
SMALL = dict(hidden_dim=64, feature_size=64, mask_feature_size=64, num_attention_heads=4, encoder_layers=2,
             decoder_layers=6, dim_feedforward=96, encoder_feedforward_dim=80, num_queries=20)
# the number of predictions, one before the first layer included
PUBLISHED = dict(hidden_dim=256, feature_size=256, mask_feature_size=256, num_attention_heads=8, encoder_layers=6,
                 decoder_layers=10, dim_feedforward=2048, encoder_feedforward_dim=1024, num_queries=100)
# 1e-6 in the classes and 8e-6 in masks of deviation 1 were measured
TOLERANCE = 1e-5


def their_config(sizes: dict, swin: dict, classes: int = CLASSES):
    backbone = transformers.SwinConfig(**swin, drop_path_rate=0., out_features=STAGES)
    return transformers.Mask2FormerConfig(backbone_config=backbone, num_labels=classes, use_auxiliary_loss=True,
                                          output_auxiliary_logits=True, **sizes)


def their_model(sizes: dict, swin: dict, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = transformers.Mask2FormerForUniversalSegmentation(their_config(sizes, swin)).eval()
    randomise(model)
    return model


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    for name, tensor in model.named_parameters():
        if 'norm' in name or name.endswith(('adapter_1.1.weight', 'layer_1.1.weight')):
            tensor.uniform_(0.7, 1.1) if name.endswith('weight') else tensor.normal_(0, 0.2)
        elif tensor.ndim > 1 and ('level_embed' in name or 'queries' in name):
            tensor.normal_(0, 1)
        elif tensor.ndim > 1:
            tensor.normal_(0, 0.7 / tensor[0].numel()**0.5)
        else:
            tensor.normal_(0, 1.0 if 'sampling_offsets' in name else 0.2)
    decoder = model.model.pixel_level_module.decoder
    # what all pixels have in common would leave masks of one sign
    decoder.layer_1[1].bias.fill_(0.5)
    decoder.mask_projection.weight.sub_(decoder.mask_projection.weight.mean(1, keepdim=True))
    decoder.mask_projection.bias.zero_()


def our_model(sizes: dict, swin: dict) -> nn.Module:
    backbone = dict(type='SwinTransformer', embed_dims=swin['embed_dim'], depths=swin['depths'],
                    num_heads=swin['num_heads'], window_size=swin['window_size'])
    return MODELS.build(dict(
        type='Mask2Former', backbone=backbone, num_classes=CLASSES, hidden_dim=sizes['hidden_dim'],
        mask_dim=sizes['mask_feature_size'], nheads=sizes['num_attention_heads'],
        enc_layers=sizes['encoder_layers'], dec_layers=sizes['decoder_layers'] - 1,
        dim_feedforward=sizes['dim_feedforward'], enc_feedforward=sizes['encoder_feedforward_dim'],
        num_queries=sizes['num_queries'], pre_norm=sizes.get('pre_norm', False))).eval()


def batch() -> torch.Tensor:
    torch.manual_seed(0)
    images = torch.zeros(2, 3, HEIGHT, WIDTH)
    for image, (height, width) in zip(images, SHAPES):
        image[:, :height, :width] = torch.randn(3, height, width)
    return images


@torch.no_grad()
def check(theirs: nn.Module, ours: nn.Module) -> None:
    images = batch()
    wanted, found = theirs(images), ours(images, mode='tensor')
    layers = [*((entry['class_queries_logits'], entry['masks_queries_logits']) for entry in wanted.auxiliary_logits),
              (wanted.class_queries_logits, wanted.masks_queries_logits)]
    assert len(found.class_logits) == len(layers) == len(ours.decoder.layers) + 1
    for number, (classes, masks) in enumerate(layers):
        assert (found.class_logits[number] - classes).abs().max() < TOLERANCE
        assert (found.mask_logits(number) - masks).abs().max() < TOLERANCE
    # the case is not degenerate: queries differ, masks block a part of what they could
    assert found.class_logits.std(dim=2).min() > 1e-3
    blocked = torch.stack([found.mask_logits(number) < 0 for number in range(len(layers))]).float().mean((-1, -2))
    assert ((blocked > 0.1) & (blocked < 0.9)).float().mean() > 0.5
    last = ours.run(images)
    assert torch.equal(last.class_logits[0], found.class_logits[-1])
    assert torch.equal(last.mask_logits(), found.mask_logits())


@pytest.mark.parametrize('pre_norm', [False, True])
def test_classes_and_masks_of_all_layers(pre_norm):
    sizes = dict(SMALL, pre_norm=pre_norm)
    theirs, ours = their_model(sizes, SMALL_SWIN), our_model(sizes, SMALL_SWIN)
    report = load_weights(ours, theirs.state_dict())
    assert report.complete and report.layout == 'HuggingFaceMask2FormerLayout'
    check(theirs, ours)


def test_the_published_architecture():
    theirs, ours = their_model(PUBLISHED, TINY_SWIN), our_model(PUBLISHED, TINY_SWIN)
    assert load_weights(ours, theirs.state_dict()).complete
    check(theirs, ours)


def test_their_file_in_our_network(tmp_path):
    """Files carry the names that are on the hub."""
    theirs, ours = their_model(SMALL, SMALL_SWIN), our_model(SMALL, SMALL_SWIN)
    theirs.save_pretrained(tmp_path)
    report = load_weights(ours, tmp_path / 'model.safetensors')
    assert report.complete and report.layout == 'HuggingFaceHubMask2FormerLayout'
    check(theirs, ours)


def test_our_weights_in_their_network(tmp_path):
    from safetensors.torch import save_file
    theirs, ours = their_model(SMALL, SMALL_SWIN), our_model(SMALL, SMALL_SWIN)
    load_weights(ours, theirs.state_dict())
    fresh = their_model(SMALL, SMALL_SWIN, seed=1)
    fresh.load_state_dict(HuggingFaceMask2FormerLayout().from_ours(ours.state_dict(), ours), strict=True)
    check(fresh, ours)
    fresh.save_pretrained(tmp_path)
    state = HuggingFaceHubMask2FormerLayout().from_ours(ours.state_dict(), ours)
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / 'model.safetensors',
              metadata={'format': 'pt'})
    read, found = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert not found['unexpected_keys'] and not found['mismatched_keys']
    assert all('swin.layernorm' in name for name in found['missing_keys'])
    check(read.eval(), ours)


def test_transformers_has_the_same_names_and_shapes():
    with torch.device('meta'):
        theirs = transformers.Mask2FormerForUniversalSegmentation(their_config(PUBLISHED, TINY_SWIN)).state_dict()
        model = our_model(PUBLISHED, TINY_SWIN)
    ours = HuggingFaceMask2FormerLayout().from_ours(model.state_dict(), model)
    assert {name: value.shape for name, value in ours.items()} == {name: v.shape for name, v in theirs.items()}
