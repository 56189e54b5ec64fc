import pytest
import torch
from torch import nn

from maskforge.backbones.public_layouts import LIBRARIES, backbone_from_ours, backbone_to_ours
from maskforge.registry import MODELS

BACKBONES = dict(
    swin=dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), window_size=4),
    resnet=dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='FrozenBN')),
    efficientvit=dict(type='EfficientViT', arch='b0'),
    timm=dict(type='TimmBackbone', model_name='resnet10t'))
# a name that tells the libraries apart
NAMES = {
    ('swin', 'official'): 'layers.0.downsample.norm.weight', ('swin', 'tao'): 'layers.0.downsample.norm.weight',
    ('swin', 'mmdetection'): 'stages.0.downsample.norm.weight',
    ('swin', 'huggingface'): 'swin.encoder.layers.0.downsample.norm.weight',
    ('swin', 'huggingface_hub'): 'encoder.layers.0.downsample.norm.weight',
    ('resnet', 'official'): 'stem.conv1.weight', ('resnet', 'tao'): 'stem.conv1.weight',
    ('resnet', 'mmdetection'): 'conv1.weight',
    ('efficientvit', 'official'): 'input_stem.op_list.0.conv.weight',
    ('efficientvit', 'tao'): 'model.input_stem.op_list.0.conv.weight',
    ('timm', 'official'): 'layer1.0.conv1.weight', ('timm', 'mmdetection'): 'layer1.0.conv1.weight',
}


@pytest.mark.parametrize('backbone, library', NAMES)
def test_there_and_back(backbone, library):
    model = MODELS.build(BACKBONES[backbone])
    ours = {name: value for name, value in model.state_dict().items() if not name.endswith('num_batches_tracked')}
    theirs = backbone_from_ours(ours, model, library)
    assert NAMES[backbone, library] in theirs
    back = backbone_to_ours(theirs, model, library)
    assert back.keys() == ours.keys() and all(torch.equal(back[name], value) for name, value in ours.items())


def test_networks_that_are_not_known_keep_their_names():
    model = nn.Linear(2, 3)
    for library in LIBRARIES:
        assert backbone_from_ours(model.state_dict(), model, library).keys() == {'weight', 'bias'}
        assert backbone_to_ours(model.state_dict(), model, library).keys() == {'weight', 'bias'}


@pytest.mark.parametrize('function', [backbone_to_ours, backbone_from_ours])
def test_an_unknown_library(function):
    with pytest.raises(ValueError, match="library='caffe2' is not one of official, tao, mmdetection, huggingface"):
        function({}, nn.Linear(1, 1), 'caffe2')
