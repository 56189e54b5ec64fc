import pytest
import torch

from maskforge.backbones import EfficientViT
from maskforge.backbones.efficientvit_weights import from_ours, recognise, to_ours
from maskforge.checkpoints import load_weights

SIZES = dict(widths=(8, 8, 16, 16, 32), depths=(2, 2, 1, 1, 1), head_dim=8)
B_NAMES = {
    'input_stem.op_list.0.conv.weight': 'stem.in_conv.conv.weight',
    'input_stem.op_list.0.norm.running_var': 'stem.in_conv.norm.running_var',
    'input_stem.op_list.1.main.depth_conv.conv.weight': 'stem.res0.main.depth_conv.conv.weight',
    'input_stem.op_list.2.main.point_conv.norm.bias': 'stem.res1.main.point_conv.norm.bias',
    'stages.0.op_list.0.main.inverted_conv.conv.weight': 'stages.0.blocks.0.main.inverted_conv.conv.weight',
    'stages.3.op_list.1.context_module.main.aggreg.0.1.weight':
        'stages.3.blocks.1.context_module.main.aggreg.0.1.weight',
    'stages.3.op_list.1.local_module.main.point_conv.norm.weight':
        'stages.3.blocks.1.local_module.main.point_conv.norm.weight',
}
L_NAMES = {
    'stages.0.op_list.0.conv.weight': 'stem.in_conv.conv.weight',
    'stages.0.op_list.1.main.conv1.conv.weight': 'stem.res0.main.conv1.conv.weight',
    'stages.0.op_list.2.main.conv2.norm.bias': 'stem.res1.main.conv2.norm.bias',
    'stages.1.op_list.0.main.spatial_conv.conv.weight': 'stages.0.blocks.0.main.spatial_conv.conv.weight',
    'stages.4.op_list.1.context_module.main.qkv.conv.weight': 'stages.3.blocks.1.context_module.main.qkv.conv.weight',
}


@pytest.mark.parametrize('arch, names', [('b0', B_NAMES), ('l0', L_NAMES)])
def test_names_of_the_authors(arch, names):
    state = EfficientViT(arch, **SIZES).state_dict()
    theirs = from_ours(state)
    assert {theirs_name: next(ours for ours, value in state.items() if value is theirs[theirs_name])
            for theirs_name in names} == names
    assert len(theirs) == len(state) and to_ours(theirs).keys() == state.keys()


@pytest.mark.parametrize('arch', ['b0', 'l0'])
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'model.backbone.model.'])
def test_files_of_the_authors_and_of_tao(arch, prefix, tmp_path):
    torch.manual_seed(0)
    source = EfficientViT(arch, **SIZES)
    head = {'head.op_list.0.conv.weight': torch.zeros(4, 32, 1, 1), 'model.criterion.empty_weight': torch.ones(3)}
    torch.save(dict(state_dict={**from_ours(source.state_dict(), prefix=prefix), **head}), tmp_path / 'weights.pt')
    model = EfficientViT(arch, **SIZES, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pt')))
    model.init_weights()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in source.state_dict().items())
    report = load_weights(model, tmp_path / 'weights.pt')
    assert report.complete and report.layout == 'OfficialEfficientViTLayout'


@pytest.mark.parametrize('arch', ['b0', 'l0'])
def test_names_of_timm(arch):
    torch.manual_seed(0)
    source, model = EfficientViT(arch, **SIZES), EfficientViT(arch, **SIZES)
    report = load_weights(model, {**source.state_dict(), 'head.classifier.4.weight': torch.zeros(10, 4)})
    assert report.layout is None and not report.missing and report.unexpected == ['head.classifier.4.weight']


def test_names_of_something_else():
    assert recognise(['stages.0.blocks.0.main.inverted_conv.conv.weight', 'stem.in_conv.conv.weight']) is None
    with pytest.raises(ValueError, match=r'conv1\.weight \.\.\. are not the names of its authors'):
        to_ours({'conv1.weight': torch.zeros(1)})
