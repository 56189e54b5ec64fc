import pytest
import torch
import torchvision

from maskforge.layers import FPN

CHANNELS = [8, 16, 24]


def levels(sizes=((16, 20), (8, 10), (4, 5))):
    torch.manual_seed(0)
    return [torch.randn(2, c, *s) for c, s in zip(CHANNELS, sizes)]


def test_equals_torchvisions_with_a_subsampled_level():
    ours = FPN(CHANNELS, 12, 4)
    theirs = torchvision.ops.FeaturePyramidNetwork(
        CHANNELS, 12, extra_blocks=torchvision.ops.feature_pyramid_network.LastLevelMaxPool())
    names = {'inner_blocks': 'lateral_convs', 'layer_blocks': 'fpn_convs'}
    state = {f'{names[k.split(".")[0]]}.{k.split(".")[1]}.conv.{k.split(".")[-1]}': v
             for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    want = theirs({str(i): level for i, level in enumerate(levels())})
    for a, b in zip(ours(levels()), want.values(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(('source', 'channels'), [(True, 24), ('on_input', 24), ('on_lateral', 12), ('on_output', 12)])
def test_additional_levels_by_convolution(source, channels):
    fpn = FPN(CHANNELS, 12, 5, add_extra_convs=source, relu_before_extra_convs=True)
    assert [level.shape[-1] for level in fpn(levels())] == [20, 10, 5, 3, 2]
    assert fpn.fpn_convs[3].conv.in_channels == channels


def test_start_level_norm_and_odd_sizes():
    fpn = FPN(CHANNELS, 12, 2, start_level=1, norm_cfg=dict(type='GN', num_groups=4), no_norm_on_lateral=True)
    assert [tuple(level.shape[1:]) for level in fpn(levels(((15, 19), (8, 10), (4, 5))))] == [(12, 8, 10), (12, 4, 5)]
    assert 'fpn_convs.0.gn.weight' in fpn.state_dict()
    assert 'lateral_convs.0.conv.bias' in fpn.state_dict()


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(num_outs=2), 'num_outs=2 do not fit the 3 in_channels'),
    (dict(num_outs=4, add_extra_convs='on_top'), "add_extra_convs='on_top'")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FPN(CHANNELS, 12, **arguments)


def test_a_backbone_with_other_channels_is_named():
    with pytest.raises(ValueError, match=r'levels of \[8, 16\] channels, but neck.in_channels is \[8, 16, 24\]'):
        FPN(CHANNELS, 12, 3)(levels()[:2])
