"""The modes and the names of backbones, with their errors."""
import pytest

from maskforge.models.mal.architectures import ARCHITECTURES, backbone_config
from maskforge.models.mal.compat import Compat, read_compat


def test_modes():
    default, reference, tao6 = (read_compat(mode) for mode in ('default', 'reference', 'tao6'))
    assert default == Compat() and read_compat(default) is default
    differing = {name for name in vars(default) if getattr(default, name) != getattr(reference, name)}
    assert differing == set(vars(default))
    assert (tao6.patch_embed, tao6.position_form, tao6.frozen_stages) == ('patch', 'size', 'list')
    assert tao6.size_bins == 'open'


@pytest.mark.parametrize(('mode', 'message'), [
    ('refrence', "compat='refrence' does not exist: did you mean 'reference'"),
    ('xyz', "compat='xyz' does not exist: allowed: 'default', 'reference', 'tao6'"),
])
def test_unknown_mode(mode, message):
    with pytest.raises(ValueError, match=message):
        read_compat(mode)


def test_all_thirteen_names():
    assert {'vit-deit-tiny/16', 'vit-deit-small/16', 'vit-mae-base/16', 'vit-mae-large/16', 'vit-mae-huge/14',
            'fan_tiny_12_p16_224', 'fan_small_12_p16_224', 'fan_base_18_p16_224', 'fan_large_24_p16_224',
            'fan_tiny_8_p4_hybrid', 'fan_small_12_p4_hybrid', 'fan_base_16_p4_hybrid',
            'fan_large_16_p4_hybrid'} <= set(ARCHITECTURES)


def test_overrides_and_modes():
    config = backbone_config('vit-mae-huge/14', dict(depth=2), read_compat('reference'))
    assert config == dict(type='MALViT', embed_dim=1280, depth=2, num_heads=16, patch_size=14,
                          patch_embed='conv_stem', position_form='scale')
    config = backbone_config('vit-mae-base/16', dict(patch_embed='patch'), read_compat('reference'))
    assert config['patch_embed'] == 'patch'
    assert backbone_config('fan_small_12_p16_224', None, Compat()) == dict(
        type='FAN', embed_dim=384, depth=12, num_heads=8)
    # another backbone takes nothing from the architecture
    other = dict(type='TimmBackbone', model_name='vit_tiny_patch16_224', out_indices=[11])
    assert backbone_config('vit-mae-base/16', other, Compat()) == other
    assert backbone_config(None, other, Compat()) == other


@pytest.mark.parametrize(('arch', 'message'), [
    ('vit-mae-bass/16', 'vit-mae-bass/16.* is unknown: did you mean vit-mae-base/16'),
    ('fan_small_12_p16', 'did you mean fan_small_12_p16_224'),
    ('resnet', "arch='resnet' is unknown: known: vit-deit-tiny/16"),
    (None, 'give model.arch, or model.backbone with a type'),
])
def test_unknown_architecture(arch, message):
    with pytest.raises(ValueError, match=message):
        backbone_config(arch, None, Compat())
