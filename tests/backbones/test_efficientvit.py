import pytest
import torch
from timm.models import efficientvit_mit

from maskforge.backbones.efficientvit import EfficientViT
from maskforge.registry import MODELS

SMALL_B = dict(arch='b0', widths=(8, 8, 16, 16, 32), depths=(1, 2, 1, 1, 1), head_dim=8)
SMALL_L = dict(arch='l0', widths=(8, 8, 16, 16, 32), depths=(1, 1, 1, 1, 1), head_dim=8)


@pytest.mark.parametrize('settings, theirs, norm_eps', [
    (SMALL_B, efficientvit_mit.EfficientVit, 1e-5), (SMALL_L, efficientvit_mit.EfficientVitLarge, 1e-7)])
def test_equals_timm_at_the_eps_of_timm(settings, theirs, norm_eps):
    sizes = {name: value for name, value in settings.items() if name != 'arch'}
    reference = theirs(**sizes, head_widths=(8, 8)).eval()
    ours = EfficientViT(**settings, attn_eps=1e-5, norm_eps=norm_eps).eval()
    found = ours.load_state_dict(reference.state_dict(), strict=False)
    assert not found.missing_keys and all(name.startswith('head.') for name in found.unexpected_keys)
    images = torch.randn(2, 3, 75, 130)
    with torch.no_grad():
        expected = reference.forward_intermediates(images, intermediates_only=True)
        assert all(torch.equal(a, b) for a, b in zip(ours(images), expected))
        # the originals' numbers are other ones
        originals = EfficientViT(**settings).eval()
        originals.load_state_dict(ours.state_dict())
        assert not torch.equal(originals(images)[-1], expected[-1])


@pytest.mark.parametrize('arch, millions', [('b0', 0.68), ('b1', 4.64), ('b2', 14.98), ('b3', 39.00), ('l0', 27.81),
                                            ('l1', 38.04), ('l2', 49.09), ('l3', 194.0)])
def test_parameter_counts(arch, millions):
    with torch.device('meta'):
        model = EfficientViT(arch)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def plain_attention(qkv, head_dim, eps):
    """All pairs of tokens, one head after the other, in double precision."""
    heads = []
    for head in qkv.double().flatten(2).split(3 * head_dim, dim=1):
        q, k, v = head.split(head_dim, dim=1)
        weights = k.relu().transpose(1, 2) @ q.relu()  # tokens that are seen x tokens that look
        heads.append(v @ (weights / (weights.sum(1, keepdim=True) + eps)))
    return torch.cat(heads, dim=1).unflatten(2, qkv.shape[2:])


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (2, 4), (9, 7)])
def test_attention_is_the_sum_over_all_pairs(size):
    """The originals compute maps of up to head_dim pixels so, larger ones by the linear form: the same numbers."""
    torch.manual_seed(0)
    attention = EfficientViT(**SMALL_B).eval().stages[3].blocks[1].context_module.main
    assert attention.eps == 1e-15
    x, seen = torch.randn(2, 32, *size), []
    attention.proj.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    with torch.no_grad():
        attention(x)
        qkv = attention.qkv(x)
        expected = plain_attention(torch.cat([qkv, attention.aggreg[0](qkv)], dim=1), 8, 1e-15)
    torch.testing.assert_close(seen[0].double(), expected, atol=2e-6, rtol=1e-5)


def test_attention_to_nothing_is_zero_and_has_a_gradient():
    attention = EfficientViT(**SMALL_B).eval().stages[3].blocks[1].context_module.main
    x = torch.zeros(1, 32, 3, 3, requires_grad=True)
    result = attention(x)
    result.sum().backward()
    assert result.isfinite().all() and x.grad.isfinite().all()


@pytest.mark.parametrize('settings', [SMALL_B, SMALL_L])
@pytest.mark.parametrize('size', [(64, 96), (75, 101), (33, 32)])
def test_any_size(settings, size):
    model = EfficientViT(**settings)
    levels = model(torch.randn(2, 3, *size))
    assert [tuple(level.shape) for level in levels] == [
        (2, channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in zip(model.out_channels, model.strides)]
    sum(level.sum() for level in levels).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize('settings', [SMALL_B, SMALL_L])
def test_checkpointing_changes_nothing(settings):
    """Neither gradients nor running statistics, which a second run could take a batch into twice."""
    images, found = torch.randn(2, 3, 40, 64), []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = EfficientViT(**settings, with_cp=with_cp)
        sum(level.square().mean() for level in model(images)).backward()
        found.append([parameter.grad for parameter in model.parameters()] + list(model.buffers()))
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_levels_freezing_and_norm_eval():
    model = EfficientViT(**SMALL_B, out_indices=(1, 2), frozen_stages=1).train()
    assert model.out_channels == (16, 16) and model.strides == (8, 16) and len(model.stages) == 3
    assert {name.split('.')[1] for name, p in model.named_parameters() if p.requires_grad} == {'1', '2'}
    assert not model.stem.training and not model.stages[0].training and model.stages[1].training
    norms = [m for m in EfficientViT(**SMALL_B, norm_eval=True).train().modules() if hasattr(m, 'running_mean')]
    assert norms and not any(norm.training for norm in norms)


def test_half_precision_keeps_the_attention_exact():
    torch.manual_seed(0)
    model = EfficientViT(**SMALL_B).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        half = model(images)
    with torch.no_grad():
        full = model(images)
    assert all((a.float() - b).norm() < 0.05 * b.norm() for a, b in zip(half, full))


def test_exports_to_onnx(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    model = EfficientViT(**SMALL_B).eval()
    images = torch.randn(1, 3, 64, 96)
    torch.onnx.export(model, (images,), str(tmp_path / 'm.onnx'), opset_version=17, dynamo=False)
    session = onnxruntime.InferenceSession(str(tmp_path / 'm.onnx'))
    for ours, theirs in zip(model(images), session.run(None, {session.get_inputs()[0].name: images.numpy()})):
        torch.testing.assert_close(ours.detach(), torch.from_numpy(theirs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('settings, message', [
    (dict(arch='b4'), 'not one of b0, b1, b2, b3, l0, l1, l2, l3'),
    (dict(out_indices=(2, 1)), r'rising levels in 0 \.\. 3'),
    (dict(frozen_stages=9), 'frozen_stages=9'),
    (dict(widths=(8, 16, 32)), 'must have 5 values each'),
    (dict(widths=(8, 16, 32, 64, 100)), r'widths \(64, 100\) .* multiples of head_dim=16'),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='EfficientViT', **settings))
