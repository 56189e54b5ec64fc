"""ResNet: equal to torchvision, MMDetection's keys, freezing, arguments."""
import pytest
import torch
import torchvision
from mmengine.registry import DefaultScope

from maskforge.backbones import ResNet
from maskforge.registry import MODELS

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def random_statistics(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)


def torchvision_levels(model: torch.nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    features, levels = model.maxpool(model.relu(model.bn1(model.conv1(images)))), []
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        features = layer(features)
        levels.append(features)
    return levels


@pytest.mark.parametrize('depth', [18, 50])
def test_equals_torchvision_with_the_same_weights(depth):
    theirs = torchvision.models.get_model(f'resnet{depth}', weights=None)
    random_statistics(theirs)
    ours = ResNet(depth)
    report = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not report.missing_keys
    assert set(report.unexpected_keys) == {'fc.weight', 'fc.bias'}
    ours.eval(), theirs.eval()
    with torch.no_grad():
        levels = ours.double()(IMAGES.double())
        expected = torchvision_levels(theirs.double(), IMAGES.double())
    for level, want, channels, stride in zip(levels, expected, ours.out_channels, ours.strides):
        torch.testing.assert_close(level, want)
        assert level.shape == (2, channels, 64 // stride, 96 // stride)


def test_style_moves_the_stride_and_keeps_the_keys():
    pytorch, caffe = ResNet(50), ResNet(50, style='caffe')
    assert list(pytorch.state_dict()) == list(caffe.state_dict())
    first = {style: model.layer2[0] for style, model in (('pytorch', pytorch), ('caffe', caffe))}
    assert [first['pytorch'].conv1.stride[0], first['pytorch'].conv2.stride[0]] == [1, 2]
    assert [first['caffe'].conv1.stride[0], first['caffe'].conv2.stride[0]] == [2, 1]


def test_keys_and_parameter_count_of_the_public_checkpoints():
    keys = ResNet(50).state_dict()
    for key in ('conv1.weight', 'bn1.running_var', 'layer1.0.conv1.weight', 'layer1.0.bn3.bias',
                'layer1.0.downsample.0.weight', 'layer4.0.downsample.1.num_batches_tracked', 'layer4.2.conv3.weight'):
        assert key in keys
    assert sum(p.numel() for p in ResNet(50).parameters()) == 23_508_032  # torchvision's resnet50 without its fc


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2])
def test_frozen_stages_stay_frozen_after_train(frozen_stages):
    model = ResNet(18, frozen_stages=frozen_stages, norm_eval=False).train()
    parts = ['conv1', 'bn1'] + [f'layer{i}' for i in (1, 2, 3, 4)]
    frozen = parts[:2 + frozen_stages] if frozen_stages >= 0 else []
    for name in parts:
        part = getattr(model, name)
        assert all(p.requires_grad is (name not in frozen) for p in part.parameters())
        assert part.training is (name not in frozen)


def test_norm_eval_and_requires_grad_of_norms():
    model = ResNet(18, norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True).train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(not n.training and not n.weight.requires_grad for n in norms)
    assert model.layer1[0].conv1.weight.requires_grad
    before = norms[3].running_mean.clone()
    model(IMAGES)
    assert torch.equal(norms[3].running_mean, before)
    assert all(m.training for m in ResNet(18, norm_eval=False).train().modules())


def test_frozen_batch_norm_takes_eps_as_configured():
    model = ResNet(18, norm_cfg=dict(type='FrozenBN', eps=0.0))
    assert model.bn1.eps == 0.0 and not list(model.bn1.parameters())
    assert ResNet(18, norm_cfg=dict(type='FrozenBN')).bn1.eps == 1e-5


def test_group_norm_has_its_own_name():
    model = ResNet(18, norm_cfg=dict(type='GN', num_groups=8), base_channels=16)
    assert isinstance(model.gn1, torch.nn.GroupNorm) and model.out_channels == (16, 32, 64, 128)
    assert len(model(IMAGES)) == 4


def test_activation_checkpointing_gives_the_same_gradients_and_statistics():
    torch.manual_seed(0)
    plain, saving = (ResNet(18, base_channels=8, norm_eval=False, with_cp=with_cp) for with_cp in (False, True))
    saving.load_state_dict(plain.state_dict())
    grads = []
    for model in (plain, saving):
        model.train()
        sum(level.square().mean() for level in model(IMAGES)).backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*grads))
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), saving.buffers()))


def test_dilated_stage_keeps_the_resolution():
    model = ResNet(50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(2, 3), base_channels=8)
    assert model.strides == (16, 16) and model.out_channels == (128, 256)
    assert model(IMAGES)[1].shape == (2, 256, 4, 6)


def test_init_without_a_file_starts_blocks_as_shortcuts():
    model = ResNet(50, base_channels=8)
    model.init_weights()
    assert model.layer1[0].bn3.weight.abs().max() == 0
    assert model.layer1[0].bn2.weight.min() == 1


def test_built_from_the_config_text_of_mmdetection():
    with DefaultScope.overwrite_default_scope('maskforge'):
        model = MODELS.build(dict(
            type='ResNet', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True, style='caffe', init_cfg=None))
    assert model.out_channels == (256, 512, 1024, 2048) and model.strides == (4, 8, 16, 32)
    # 44,396,336 - 44,120,816 of MMDetection's caffe Mask R-CNN: stem, layer1 and all affine terms
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert frozen == 44_396_336 - 44_120_816


@pytest.mark.parametrize('arguments, message', [
    (dict(depth=42), 'depth=42 is not one of 18, 34, 50, 101, 152'),
    (dict(depth=18, num_stages=5), 'num_stages=5 is not in 1 to 4'),
    (dict(depth=18, num_stages=2, out_indices=(0, 2)), r'out_indices=\(0, 2\) must be stages from 0 to 1'),
    (dict(depth=18, strides=(1, 2)), 'num_stages=4 needs that many strides'),
    (dict(depth=18, style='tf'), "style='tf' is not 'pytorch' or 'caffe'"),
    (dict(depth=18, frozen_stages=7), 'frozen_stages=7 is not in -1 to 4'),
])
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**arguments)


@pytest.mark.parametrize(('channels_last', 'expected'), [(None, True), (True, True), (False, False)])
def test_channels_last(channels_last, expected):
    network = ResNet(18, base_channels=8, channels_last=channels_last).eval()
    levels = network(IMAGES)
    assert [level.is_contiguous(memory_format=torch.channels_last) for level in levels] == [expected] * 4
