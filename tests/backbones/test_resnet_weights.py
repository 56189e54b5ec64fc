import pickle

import pytest
import torch

from maskforge.backbones import ResNet
from maskforge.backbones.resnet_weights import from_ours, to_ours
from maskforge.checkpoints import load_weights

NAMES = {
    'stem.conv1.weight': 'conv1.weight',
    'stem.conv1.norm.running_mean': 'bn1.running_mean',
    'res2.0.shortcut.weight': 'layer1.0.downsample.0.weight',
    'res2.0.shortcut.norm.running_var': 'layer1.0.downsample.1.running_var',
    'res2.0.conv3.weight': 'layer1.0.conv3.weight',
    'res4.5.conv2.norm.bias': 'layer3.5.bn2.bias',
    'res5.2.conv1.norm.weight': 'layer4.2.bn1.weight',
}


def test_names_of_detectron2():
    assert list(to_ours(dict.fromkeys(NAMES, torch.zeros(1)))) == list(NAMES.values())
    assert list(from_ours(dict.fromkeys(NAMES.values(), torch.zeros(1)))) == list(NAMES)
    assert not to_ours({'stem.fc.weight': torch.zeros(1), 'linear.bias': torch.zeros(1)})


@pytest.mark.parametrize('depth', [18, 50])
def test_a_backbone_of_detectron2_loads(depth, tmp_path):
    torch.manual_seed(0)
    source = ResNet(depth, base_channels=8)
    theirs = from_ours(source.state_dict())
    assert all(name.split('.')[0] in ('stem', 'res2', 'res3', 'res4', 'res5') for name in theirs)
    torch.save(dict(model={**theirs, 'stem.fc.bias': torch.zeros(10)}), tmp_path / 'r.pth')
    model = ResNet(depth, base_channels=8, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'r.pth')))
    model.init_weights()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in source.state_dict().items())
    report = load_weights(model, tmp_path / 'r.pth')
    assert report.complete and report.layout == 'Detectron2ResNetLayout'


def test_a_file_of_the_model_zoo(tmp_path):
    """Arrays in a plain pickle."""
    source = ResNet(18, base_channels=8)
    arrays = {name: value.numpy() for name, value in from_ours(source.state_dict()).items()}
    (tmp_path / 'R-18.pkl').write_bytes(pickle.dumps(dict(model=arrays, __author__='torchvision')))
    model = ResNet(18, base_channels=8, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'R-18.pkl')))
    model.init_weights()
    assert torch.equal(model.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_names_of_torchvision_stay():
    model = ResNet(18, base_channels=8)
    report = load_weights(model, ResNet(18, base_channels=8).state_dict())
    assert report.complete and report.layout is None
