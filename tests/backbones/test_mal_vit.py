"""MAL's ViT against timm's, against its formulas in float64, and its settings."""
import pytest
import torch
from torch.nn import functional as F

from maskforge.backbones import MALViT
from maskforge.backbones.pretrained import load_matching
from maskforge.registry import MODELS

TINY = dict(embed_dim=32, depth=2, num_heads=4, img_size=64)


def timm_vit(**changes):
    from timm.models.vision_transformer import VisionTransformer
    torch.manual_seed(1)
    return VisionTransformer(**{**dict(img_size=64, embed_dim=32, depth=2, num_heads=4, patch_size=16,
                                       dynamic_img_size=True), **changes}).eval()


@pytest.mark.parametrize('size', [(64, 64), (128, 128), (96, 160)])
def test_timms_weights_give_timms_features(size):
    theirs = timm_vit()
    ours = MALViT(**TINY).eval()
    report = load_matching(ours, theirs.state_dict(), name='timm')
    assert not report.missing and set(report.unexpected) == {'head.weight', 'head.bias'}
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = theirs.forward_features(images)[:, 1:].transpose(1, 2).unflatten(2, (size[0] // 16, size[1] // 16))
        torch.testing.assert_close(ours(images)[0], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(('name', 'options'), [
    ('deit_tiny_patch16_224', dict(embed_dim=192, depth=12, num_heads=3)),
    ('deit_small_patch16_224', dict(embed_dim=384, depth=12, num_heads=6)),
    ('deit_base_patch16_224', dict(embed_dim=768, depth=12, num_heads=12)),
    ('vit_base_patch16_224.mae', dict(embed_dim=768, depth=12, num_heads=12)),
    ('vit_large_patch16_224.mae', dict(embed_dim=1024, depth=24, num_heads=16)),
    ('vit_huge_patch14_224.mae', dict(embed_dim=1280, depth=32, num_heads=16, patch_size=14)),
])
def test_every_tensor_is_in_timms_published_models(name, options):
    import timm
    with torch.device('meta'):
        theirs, ours = timm.create_model(name).state_dict(), MALViT(**options).state_dict()
    assert {key: value.shape for key, value in ours.items()}.items() <= {k: v.shape for k, v in theirs.items()}.items()


def reference_forward(model, images):
    """The conv-stem network from its formulas, attention written out, in float64."""
    p = {key: value.double() for key, value in model.state_dict().items()}
    x = images.double()
    for stage in range(4):
        x = F.conv2d(x, p[f'patch_embed.proj.{stage}.0.weight'], stride=2, padding=1)
        mean, var = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), unbiased=False, keepdim=True)
        weight, bias = (p[f'patch_embed.proj.{stage}.1.{part}'][:, None, None] for part in ('weight', 'bias'))
        x = (x - mean) / (var + 1e-6).sqrt() * weight + bias
        x = 0.5 * x * (1 + torch.erf(x / 2 ** 0.5))
    x = F.conv2d(x, p['patch_embed.proj.3.3.weight'], p['patch_embed.proj.3.3.bias'])
    grid = x.shape[-2:]
    x = torch.cat((p['cls_token'].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)), 1)
    pos = p['pos_embed'][:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    pos = F.interpolate(pos, scale_factor=((grid[0] + 0.1) / 4, (grid[1] + 0.1) / 4), mode='bicubic')
    x = x + torch.cat((p['pos_embed'][:, :1], pos.flatten(2).transpose(1, 2)), 1)

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        return x * p[f'{name}.weight'] + p[f'{name}.bias']

    def linear(x, name):
        return x @ p[f'{name}.weight'].T + p[f'{name}.bias']

    for i in range(model.depth):
        q, k, v = linear(norm(x, f'blocks.{i}.norm1'), f'blocks.{i}.attn.qkv').chunk(3, -1)
        heads = []
        for q_h, k_h, v_h in zip(*(part.chunk(4, -1) for part in (q, k, v))):
            heads.append((q_h @ k_h.transpose(1, 2) / 8 ** 0.5).softmax(-1) @ v_h)
        x = x + linear(torch.cat(heads, -1), f'blocks.{i}.attn.proj')
        hidden = linear(norm(x, f'blocks.{i}.norm2'), f'blocks.{i}.mlp.fc1')
        x = x + linear(0.5 * hidden * (1 + torch.erf(hidden / 2 ** 0.5)), f'blocks.{i}.mlp.fc2')
    return norm(x, 'norm')[:, 1:].transpose(1, 2).unflatten(2, grid)


def test_conv_stem_and_scale_form_by_their_formulas():
    torch.manual_seed(0)
    model = MALViT(**TINY, patch_embed='conv_stem', position_form='scale').eval()
    for parameter in model.parameters():  # biases and norms away from their neutral values
        torch.nn.init.normal_(parameter, 0.3 if parameter.dim() < 2 else 0, 0.2)
    images = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        torch.testing.assert_close(model(images)[0].double(), reference_forward(model, images), atol=1e-3, rtol=1e-3)


def test_parameters_of_the_conv_stem():
    with torch.device('meta'):
        model = MALViT(patch_embed='conv_stem')
    assert sum(p.numel() for p in model.patch_embed.parameters()) == 4_079_712
    assert sum(p.numel() for p in model.parameters()) == 89_287_776
    assert len(model.state_dict()) == 162
    assert model.state_dict()['pos_embed'].shape == (1, 197, 768)


def test_patch_of_14_and_the_stems_stride():
    options = dict(embed_dim=16, depth=1, num_heads=2, patch_size=14, img_size=56)
    assert MALViT(**options)(torch.zeros(1, 3, 70, 56))[0].shape == (1, 16, 5, 4)
    stem = MALViT(**options, patch_embed='conv_stem')
    assert stem.strides == (16,) and stem(torch.zeros(1, 3, 64, 64))[0].shape == (1, 16, 4, 4)
    assert stem.pos_embed.shape == (1, 17, 16)


def test_registered_with_its_attributes():
    model = MODELS.build(dict(type='MALViT', **TINY))
    assert model.out_channels == (32,) and model.strides == (16,)
    assert model.stages() == [model.patch_embed, *model.blocks]
    names = ['patch_embed.proj.weight', 'cls_token', 'pos_embed', 'blocks.0.norm1.weight', 'blocks.1.mlp.fc2.bias',
             'norm.weight']
    assert [model.layer_id(name) for name in names] == [0, 0, 0, 1, 2, 3]


def test_checkpointing_keeps_the_gradients(monkeypatch):
    from maskforge.backbones import mal_vit
    calls = []
    original = mal_vit.checkpoint
    monkeypatch.setattr(mal_vit, 'checkpoint', lambda *a, **k: calls.append(1) or original(*a, **k))
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = MALViT(**TINY, with_cp=with_cp)
        model(torch.ones(1, 3, 64, 64))[0].square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert len(calls) == 2
    for plain, recomputed in zip(*gradients):
        torch.testing.assert_close(plain, recomputed)


def test_drop_path_works_in_training_only():
    torch.manual_seed(0)
    model = MALViT(**TINY, drop_path_rate=0.9)
    images = torch.randn(8, 3, 64, 64)
    assert [block.drop_path.rate for block in model.blocks] == [0, 0.9]
    assert not torch.equal(model(images)[0], model(images)[0])
    model.eval()
    assert torch.equal(model(images)[0], model(images)[0])


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(num_heads=5), 'embed_dim=32 is not a multiple of num_heads=5'),
    (dict(img_size=60), 'img_size=60 is not a multiple of patch_size=16'),
    (dict(patch_embed='stem'), "patch_embed='stem' is not 'patch' or 'conv_stem'"),
    (dict(embed_dim=12, num_heads=2, patch_embed='conv_stem'), 'an embed_dim that 8 divides, got 12'),
    (dict(position_form='exact'), "position_form='exact' is not one of size, scale"),
])
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        MALViT(**{**TINY, **changes})


def test_images_that_do_not_divide():
    with pytest.raises(ValueError, match=r'100 x 64 pixels do not divide into patches of 16.*for example 96'):
        MALViT(**TINY)(torch.zeros(1, 3, 100, 64))


def test_weights_of_a_plain_vit_leave_the_stem_out(engine_log):
    theirs = timm_vit()
    report = load_matching(MALViT(**TINY, patch_embed='conv_stem'), theirs.state_dict(), name='timm')
    assert len(report.missing) == 14 and all(name.startswith('patch_embed.') for name in report.missing)
    assert any('not in the file: patch_embed.proj.* (14 tensors)' in message for message in engine_log)


def test_init_cfg_loads_a_file(tmp_path):
    theirs = timm_vit()
    torch.save(theirs.state_dict(), tmp_path / 'vit.pth')
    model = MALViT(**TINY, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth')))
    model.init_weights()
    assert torch.equal(model.blocks[1].mlp.fc1.weight, theirs.blocks[1].mlp.fc1.weight)
