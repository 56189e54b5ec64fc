"""FAN against its formulas in float64, against timm's parts where it shares them, and its settings."""
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskforge.backbones import FAN
from maskforge.backbones.fan_blocks import ChannelProcessing, ClassAttentionBlock, TokenMixing
from maskforge.backbones.fan_stem import ConvNeXtStages, ConvPatchEmbed, FourierPositions
from maskforge.registry import MODELS

TINY = dict(embed_dim=32, depth=2, num_heads=4)


def randomised(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, 0.3 if parameter.dim() < 2 else 0, 0.2)
    for name, buffer in module.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 2)
        elif name.endswith('running_mean'):
            buffer.normal_()
    return module.eval()


def tensors(module):
    return {key: value.double() for key, value in module.state_dict().items()}


def norm(x, weight, bias):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return x * weight + bias


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / 2 ** 0.5))


def close(found, expected):
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_token_mixing():
    module = randomised(TokenMixing(8, 2))
    p, x = tensors(module), torch.randn(2, 6, 8)
    q = x.double() @ p['q.weight'].T + p['q.bias']
    k, v = (x.double() @ p['kv.weight'].T + p['kv.bias']).chunk(2, -1)
    heads = [(a @ b.transpose(1, 2) / 2).softmax(-1) @ c for a, b, c in zip(q.split(4, -1), k.split(4, -1),
                                                                          v.split(4, -1))]
    close(module(x), torch.cat(heads, -1) @ p['proj.weight'].T + p['proj.bias'])


@torch.no_grad()
def test_channel_processing():
    module = randomised(ChannelProcessing(8, 2, hidden=12))
    p, x, grid = tensors(module), torch.randn(2, 6, 8), (2, 3)
    q = (x.double() @ p['q.weight'].T + p['q.bias']).reshape(2, 6, 2, 4)
    k = x.double().reshape(2, 6, 2, 4)
    hidden = x.double() @ p['mlp_v.fc1.weight'].T + p['mlp_v.fc1.bias']
    maps = hidden.transpose(1, 2).reshape(2, 12, 2, 3)
    name = 'mlp_v.dwconv'
    maps = gelu(F.conv2d(maps, p[f'{name}.conv1.weight'], p[f'{name}.conv1.bias'], padding=1, groups=12))
    mean, var, weight, bias = (p[f'{name}.bn.{part}'][:, None, None]
                               for part in ('running_mean', 'running_var', 'weight', 'bias'))
    maps = (maps - mean) / (var + 1e-5).sqrt() * weight + bias
    maps = F.conv2d(maps, p[f'{name}.conv2.weight'], p[f'{name}.conv2.bias'], padding=1, groups=12)
    hidden = hidden + p['mlp_v.gamma'] * maps.reshape(2, 12, 6).transpose(1, 2)
    values = norm(hidden @ p['mlp_v.fc2.weight'].T + p['mlp_v.fc2.bias'], p['norm_v.weight'], p['norm_v.bias'])
    expected = torch.empty(2, 6, 8, dtype=torch.float64)
    for image in range(2):
        for head in range(2):
            q_soft, k_soft = (part[image, :, head].softmax(0) for part in (q, k))  # over the tokens
            gate = torch.sigmoid(q_soft.T @ k_soft.mean(1)) * p['temperature'][head, 0, 0]
            expected[image, :, 4 * head:4 * head + 4] = values[image, :, 4 * head:4 * head + 4] * gate
    close(module(x, grid), expected)


@torch.no_grad()
def test_class_attention_changes_patches_by_norms_alone():
    module = randomised(ClassAttentionBlock(8, mlp_ratio=4, scale=1.0))
    p, x = tensors(module), torch.randn(2, 6, 8)
    moved = x.double() + p['gamma1'] * norm(x.double(), p['norm1.weight'], p['norm1.bias'])
    normed = norm(moved, p['norm2.weight'], p['norm2.bias'])
    close(module(x), normed + normed)


def test_patch_tokens_of_timms_class_attention():
    """XCiT's block is the same one; its patch tokens do not depend on the class token."""
    from timm.models.xcit import ClassAttentionBlock as TimmBlock
    torch.manual_seed(0)
    theirs = TimmBlock(8, 2, qkv_bias=True, eta=0.5, tokens_norm=True,
                       norm_layer=partial(nn.LayerNorm, eps=1e-6)).eval()
    ours = ClassAttentionBlock(8, mlp_ratio=4, scale=0.5)
    names = {key: value for key, value in theirs.state_dict().items() if key.startswith(('norm', 'gamma'))}
    ours.load_state_dict(names, strict=False)
    tokens = torch.randn(2, 7, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens[:, 1:]), theirs(tokens)[:, 1:], atol=1e-5, rtol=0)


def test_fourier_positions():
    module = FourierPositions(5)
    code = torch.zeros(1, 64, 2, 3, dtype=torch.float64)
    for row in range(2):
        for column in range(3):
            for offset, position, last in ((0, row + 1, 2), (32, column + 1, 3)):
                angle = position / (last + 1e-6) * 2 * math.pi
                for i in range(16):
                    code[0, offset + 2 * i, row, column] = math.sin(angle / 10000 ** (2 * i / 32))
                    code[0, offset + 2 * i + 1, row, column] = math.cos(angle / 10000 ** (2 * i / 32))
    p = tensors(module)
    with torch.no_grad():
        close(module(torch.zeros(1, 5, 2, 3)),
              F.conv2d(code, p['token_projection.weight'], p['token_projection.bias']))


@torch.no_grad()
def test_hybrid_stem_is_timms_convnext():
    from timm.models.convnext import ConvNeXt
    theirs = ConvNeXt(depths=(3, 3, 1, 1), dims=(128, 256, 8, 8)).eval()
    ours = ConvNeXtStages((3, 3)).eval()
    kept = {key: value for key, value in theirs.state_dict().items()
            if key.startswith(('stem.', 'stages.0.', 'stages.1.'))}
    ours.load_state_dict(kept)
    images = torch.randn(1, 3, 64, 32)
    expected = theirs.stages[1](theirs.stages[0](theirs.stem(images)))
    torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)
    assert ours(images).shape == (1, 256, 8, 4)


@torch.no_grad()
def test_four_convolutions():
    module = randomised(ConvPatchEmbed(32))
    p, x = tensors(module), torch.randn(1, 3, 32, 48)
    expected = x.double()
    for index in (0, 2, 4, 6):
        expected = F.conv2d(expected, p[f'proj.{index}.0.weight'], stride=2, padding=1)
        mean, var, weight, bias = (p[f'proj.{index}.1.{part}'][:, None, None]
                                   for part in ('running_mean', 'running_var', 'weight', 'bias'))
        expected = (expected - mean) / (var + 1e-5).sqrt() * weight + bias
        expected = gelu(expected) if index < 6 else expected
    close(module(x), expected)
    assert module(x).shape == (1, 32, 2, 3)


@torch.no_grad()
def test_whole_network_in_order():
    model = randomised(FAN(**TINY))
    images = torch.randn(2, 3, 64, 96)
    features = model.patch_embed(images)
    tokens = (features + model.pos_embed(features)).flatten(2).transpose(1, 2)
    for block in model.blocks:
        tokens = tokens + block.gamma1 * block.attn(block.norm1(tokens))
        tokens = tokens + block.gamma2 * block.mlp(block.norm2(tokens), (4, 6))
    for block in model.cls_attn_blocks:
        tokens = block(tokens)
    torch.testing.assert_close(model(images)[0], model.norm(tokens).transpose(1, 2).reshape(2, 32, 4, 6))


@pytest.mark.parametrize('hybrid', [False, True])
def test_everything_that_trains_gets_a_gradient(hybrid):
    model = FAN(**TINY, hybrid=hybrid, hybrid_depths=(1, 1))
    model(torch.randn(2, 3, 64, 64))[0].square().mean().backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert all(name == 'cls_token' or name.startswith('cls_attn_blocks.') for name in without)


def test_checkpointing_keeps_the_gradients():
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = FAN(**TINY, with_cp=with_cp)
        model(torch.linspace(0, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32))[0].square().mean().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, recomputed in zip(*gradients):
        torch.testing.assert_close(plain, recomputed)


def test_deep_networks_start_close_to_the_identity():
    assert FAN(**TINY).blocks[0].gamma1.unique().item() == 1
    assert FAN(**{**TINY, 'depth': 19}).blocks[0].gamma1.unique().item() == pytest.approx(1e-5)


def test_registered_with_its_attributes():
    model = MODELS.build(dict(type='FAN', **TINY))
    assert model.out_channels == (32,) and model.strides == (16,)
    assert model.stages() == [model.patch_embed, *model.blocks]
    names = ['patch_embed.proj.0.0.weight', 'pos_embed.token_projection.bias', 'blocks.1.gamma1',
             'cls_attn_blocks.0.norm1.weight', 'norm.weight']
    assert [model.layer_id(name) for name in names] == [0, 0, 2, 3, 3]


def test_bad_settings_and_images():
    with pytest.raises(ValueError, match='embed_dim=30 must be a multiple of num_heads=4 and of 8'):
        FAN(**{**TINY, 'embed_dim': 30})
    with pytest.raises(ValueError, match='FAN: images of 40 x 32 pixels do not divide into patches of 16'):
        FAN(**TINY)(torch.zeros(1, 3, 40, 32))
