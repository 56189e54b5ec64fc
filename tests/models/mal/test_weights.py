"""Public checkpoint layouts, both ways."""
import pytest
import torch

from maskforge.checkpoints import load_weights, save_checkpoint
from maskforge.models.mal import MALBackboneLayout, MALLayout, TimmMALLayout

FAN = dict(arch='fan_tiny_12_p16_224', backbone=dict(embed_dim=32, depth=2))
HYBRID = dict(arch='fan_tiny_8_p4_hybrid', backbone=dict(embed_dim=32, depth=2))


def shifted(model):
    """The model with a teacher that differs from the student."""
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.add_(0.01 * (index + 1))
    return model


def networks(model):
    return {key: value for key, value in model.state_dict().items() if key.startswith(('student.', 'teacher.'))}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def documented_names(depth=12):
    """One network's names of the official release, from its description."""
    names = ['backbone.cls_token', 'backbone.pos_embed']
    stem = [f'{i}.0.weight' for i in range(4)] + [f'{i}.1.{k}' for i in range(4) for k in ('weight', 'bias')]
    names += [f'backbone.patch_embed.proj.{part}' for part in (*stem, '3.3.weight', '3.3.bias')]
    parts = ['norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2']
    pairs = [f'backbone.blocks.{i}.{part}' for i in range(depth) for part in parts]
    pairs += ['backbone.norm', 'roi_head.mlp1', 'roi_head.mlp2', *(f'mask_head.convs.{i}.conv' for i in range(4))]
    return names + [f'{pair}.{kind}' for pair in pairs for kind in ('weight', 'bias')]


def test_documented_names(tiny):
    with torch.device('meta'):
        model = tiny(arch='vit-mae-base/16', backbone=None, compat='reference', mask_head_hidden_channel=256,
                     mask_head_out_channel=256)
    names = documented_names()
    assert len(names) == 174
    assert set(networks(model)) == {f'{network}.{name}' for network in ('student', 'teacher') for name in names}
    assert set(model.state_dict()) == set(networks(model))


def test_documented_fan_names(tiny):
    plain = set(tiny(**FAN).student.backbone.state_dict())
    block = ['gamma1', 'gamma2', 'norm1.weight', 'norm2.weight', 'attn.q.weight', 'attn.kv.weight', 'attn.proj.weight',
             'mlp.temperature', 'mlp.q.weight', 'mlp.norm_v.weight', 'mlp.mlp_v.gamma', 'mlp.mlp_v.fc1.weight',
             'mlp.mlp_v.fc2.weight', 'mlp.mlp_v.dwconv.conv1.weight', 'mlp.mlp_v.dwconv.bn.running_mean',
             'mlp.mlp_v.dwconv.conv2.weight']
    last = ['norm1.weight', 'norm2.weight', 'attn.q.weight', 'attn.k.weight', 'attn.v.weight', 'attn.proj.weight',
            'mlp.fc1.weight', 'mlp.fc2.weight', 'gamma1', 'gamma2']
    assert {f'blocks.1.{name}' for name in block} | {f'cls_attn_blocks.1.{name}' for name in last} <= plain
    assert {'patch_embed.proj.6.0.weight', 'patch_embed.proj.6.1.running_var', 'cls_token', 'norm.weight',
            'pos_embed.token_projection.weight'} <= plain
    hybrid = set(tiny(**HYBRID).student.backbone.state_dict())
    names = ['stem.0.weight', 'stem.1.weight', 'stages.1.downsample.1.weight', 'stages.0.blocks.2.gamma',
             'stages.0.blocks.0.conv_dw.weight', 'stages.0.blocks.0.norm.weight', 'stages.1.blocks.0.mlp.fc1.weight',
             'stages.1.blocks.0.mlp.fc2.weight']
    assert {f'patch_embed.backbone.{name}' for name in names} | {'patch_embed.proj.weight'} <= hybrid


def test_official_lightning_checkpoint(tiny, tmp_path):
    source, target = shifted(tiny(compat='reference')), tiny(compat='reference')
    file = dict(state_dict=MALLayout().from_ours(source.state_dict(), source), epoch=9, global_step=1234,
                optimizer_states=[{}], callbacks={})
    torch.save(file, tmp_path / 'official.ckpt')
    report = load_weights(target, tmp_path / 'official.ckpt')
    assert report.complete and equal(networks(source), networks(target))


@pytest.mark.parametrize('settings', [FAN, HYBRID], ids=['fan', 'hybrid'])
def test_tao5_fan_with_its_classifier(tiny, settings):
    source, target = shifted(tiny(**settings)), tiny(**settings)
    theirs = MALLayout().from_ours(source.state_dict(), source)
    assert theirs['student.backbone.head.weight'].shape == theirs['teacher.backbone.head.weight'].shape == (1000, 32)
    report = load_weights(target, theirs)
    assert report.complete and report.layout == 'MALLayout' and equal(networks(source), networks(target))


@pytest.mark.parametrize('compat', ['default', 'tao6'])
def test_tao6(tiny, compat):
    source, target = shifted(tiny(compat=compat)), tiny(compat=compat)
    theirs = TimmMALLayout().from_ours(source.state_dict(), source)
    assert theirs['student.backbone.head.bias'].shape == (1000,)
    report = load_weights(target, dict(state_dict=theirs, tao_model='mal'))
    assert report.complete and report.layout == 'TimmMALLayout' and equal(networks(source), networks(target))


def test_own_checkpoint(tiny, tmp_path):
    source, target = shifted(tiny()), tiny()
    save_checkpoint(dict(state_dict=source.state_dict(), meta={}), tmp_path / 'own.pth')
    report = load_weights(target, tmp_path / 'own.pth')
    assert report.complete and report.layout is None and equal(networks(source), networks(target))


def test_the_student_alone_fills_both(tiny):
    source, target = shifted(tiny()), tiny()
    report = load_weights(target, {k: v for k, v in source.state_dict().items() if k.startswith('student.')})
    assert report.complete
    assert equal(target.student.state_dict(), target.teacher.state_dict())
    assert equal(source.student.state_dict(), target.teacher.state_dict())


@pytest.mark.parametrize('settings', [{}, FAN])
def test_a_backbone_alone_fills_both(tiny, settings):
    source, target = shifted(tiny(**settings)), tiny(**settings)
    theirs = MALBackboneLayout().from_ours(source.state_dict(), source)
    theirs['head.weight'] = torch.zeros(1000, 32)
    report = load_weights(target, dict(model=theirs))
    assert report.layout == 'MALBackboneLayout' and not report.unexpected
    assert all(name.split('.')[1] in ('roi_head', 'mask_head') for name in report.missing)
    assert equal(source.student.backbone.state_dict(), target.teacher.backbone.state_dict())


def test_timms_mae_file(tiny):
    from timm.models.vision_transformer import VisionTransformer
    theirs = VisionTransformer(img_size=64, embed_dim=32, depth=2, num_heads=4)
    model = tiny()
    report = load_weights(model, theirs.state_dict())
    assert not report.unexpected and torch.equal(model.student.backbone.pos_embed, theirs.pos_embed)


def test_the_other_patch_embedding_is_an_error_with_the_setting(tiny):
    released, plain = tiny(compat='reference'), tiny()
    with pytest.raises(ValueError, match=r"convolutional stem \(the official release or TAO 5\): it needs "
                                         r"model.compat='reference'"):
        load_weights(plain, released.state_dict())
    with pytest.raises(ValueError, match=r"plain patch embedding.*set model.compat='default'"):
        load_weights(released, plain.state_dict())
    with pytest.raises(ValueError, match=r"plain patch embedding.*set model.compat='tao6'"):
        load_weights(released, TimmMALLayout().from_ours(plain.state_dict(), plain))


@pytest.mark.parametrize('settings', [dict(compat='reference'), FAN])
def test_models_that_tao6_cannot_hold(tiny, settings):
    model = tiny(**settings)
    with pytest.raises(ValueError, match="TAO 6 files hold timm's plain ViT"):
        TimmMALLayout().from_ours(model.state_dict(), model)
