import pytest
import timm
import torch
from torch import nn

from maskforge.backbones.swin import ARCHS, SwinTransformer
from maskforge.registry import MODELS

TINY = dict(embed_dims=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))


def randomised(model):
    """Weights that are far from their gentle start, so that every path shows."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.5) + (parameter.ndim == 1))
    return model.eval()


def to_transformers(name):
    """Our name -> transformers' SwinBackbone, apart from q, k, v."""
    for ours, theirs in (('patch_embed.proj', 'swin.embeddings.patch_embeddings.projection'),
                         ('patch_embed.norm', 'swin.embeddings.norm'), ('layers.', 'swin.encoder.layers.'),
                         ('.norm1.', '.layernorm_before.'), ('.norm2.', '.layernorm_after.'),
                         ('.attn.proj', '.attention.o_proj'),
                         ('.attn.relative_position_bias_table',
                          '.attention.relative_position_bias.relative_position_bias_table')):
        name = name.replace(ours, theirs) if ours != 'layers.' or name.startswith('layers.') else name
    return name


@pytest.mark.parametrize('window, size', [(7, (64, 96)), (7, (224, 224)), (4, (70, 100)), (12, (96, 160))])
def test_equals_transformers(window, size):
    transformers = pytest.importorskip('transformers')
    config = transformers.SwinConfig(
        embed_dim=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=window, image_size=224,
        drop_path_rate=0.0, out_features=['stage1', 'stage2', 'stage3', 'stage4'])
    theirs = transformers.SwinBackbone(config).eval()
    ours = randomised(SwinTransformer(**TINY, window_size=window))
    target, state = theirs.state_dict(), {}
    for name, value in ours.state_dict().items():
        if '.downsample.' in name:
            stage = int(name.split('.')[1])
            state[to_transformers(name).replace(f'layers.{stage}.', f'layers.{stage - 1}.')] = value
        elif '.attn.qkv.' in name:
            for part, rows in zip('qkv', value.chunk(3)):
                state[to_transformers(name).replace('attn.qkv', f'attention.{part}_proj')] = rows
        elif name.startswith('norm'):
            state[f'hidden_states_norms.stage{int(name[4]) + 1}{name[5:]}'] = value
        else:
            state[to_transformers(name)] = value
    missing = [name for name in target if name not in state and 'position_index' not in name]
    assert set(state) <= set(target) and not [m for m in missing if not m.startswith('swin.layernorm')], missing[:4]
    theirs.load_state_dict(state, strict=False)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        for ours_level, theirs_level in zip(ours(images), theirs(images).feature_maps):
            torch.testing.assert_close(ours_level, theirs_level, atol=2e-4, rtol=1e-4)


def test_equals_timm_where_levels_are_multiples_of_the_window():
    reference = timm.create_model('swin_tiny_patch4_window7_224', pretrained=False, features_only=True,
                                  img_size=448).eval()
    ours = SwinTransformer('tiny', drop_path_rate=0.).eval()
    state = {name.replace('layers_', 'layers.'): value for name, value in reference.state_dict().items()}
    found = ours.load_state_dict(state, strict=False)
    assert not found.unexpected_keys and all(name.startswith('norm') for name in found.missing_keys)
    for level in range(4):
        setattr(ours, f'norm{level}', nn.Identity())
    images = torch.randn(1, 3, 448, 448)  # at 224 the last level is one window, and timm drops its shift
    with torch.no_grad():
        for a, b in zip(ours(images), reference(images)):
            torch.testing.assert_close(a, b.permute(0, 3, 1, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('arch, millions', [('tiny', 27.52), ('small', 48.84), ('base', 86.88), ('large', 195.2)])
def test_parameter_counts(arch, millions):
    with torch.device('meta'):
        model = SwinTransformer(arch)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    assert model.out_channels == tuple(ARCHS[arch].embed_dims * 2**level for level in range(4))


def test_options_show():
    images = torch.randn(1, 3, 40, 60)
    plain = SwinTransformer(**TINY, window_size=4)
    assert [tuple(level.shape[1:]) for level in plain(images)] == [(24, 10, 15), (48, 5, 8), (96, 3, 4), (192, 2, 2)]
    with_ape = SwinTransformer(**TINY, window_size=4, ape=True, pretrain_img_size=64)
    assert with_ape.absolute_pos_embed.shape == (1, 24, 16, 16)
    with_ape.load_state_dict({**plain.state_dict(), 'absolute_pos_embed': torch.ones(1, 24, 16, 16)})
    assert not torch.allclose(plain.eval()(images)[0], with_ape.eval()(images)[0])
    part = SwinTransformer(**TINY, window_size=4, out_indices=(1, 3), patch_norm=False)
    assert part.strides == (8, 32) and part.out_channels == (48, 192) and not hasattr(part, 'norm0')
    assert isinstance(part.patch_embed.norm, nn.Identity)


def test_checkpointing_gives_the_same_gradient():
    images = torch.randn(1, 3, 32, 32)
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = SwinTransformer(**TINY, window_size=4, with_cp=with_cp, drop_path_rate=0.)
        sum(level.sum() for level in model(images)).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_frozen_stages():
    model = SwinTransformer(**TINY, window_size=4, frozen_stages=2, ape=True).train()
    trained = {name.split('.')[1] for name, p in model.named_parameters() if p.requires_grad and 'layers' in name}
    assert trained == {'2', '3'} and not model.patch_embed.training and not model.absolute_pos_embed.requires_grad


@pytest.mark.parametrize('settings, message', [
    (dict(arch='giant'), 'not one of tiny, small, base, large, huge'),
    (dict(out_indices=(0, 4)), r'rising levels in 0 \.\. 3'),
    (dict(frozen_stages=5), 'frozen_stages=5'),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='SwinTransformer', **{**TINY, **settings}))
