import pytest
import timm
import torch

from maskforge.backbones.gcvit import GCViT
from maskforge.registry import MODELS

SMALL = dict(arch='gc_vit_xxtiny', embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))


@pytest.mark.parametrize('ours, theirs', [('gc_vit_xxtiny', 'gcvit_xxtiny'), ('gc_vit_small', 'gcvit_small')])
def test_equals_timm_at_its_own_size(ours, theirs):
    torch.manual_seed(0)
    reference = timm.create_model(theirs, pretrained=False, features_only=True).eval()
    model = GCViT(ours).eval()
    state = {name.replace('stages_', 'stages.'): value for name, value in reference.state_dict().items()}
    model.load_state_dict(state)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model(images), reference(images)))


@pytest.mark.parametrize('arch, millions', [
    ('gc_vit_xxtiny', 12.0), ('gc_vit_xtiny', 20.0), ('gc_vit_tiny', 28.2), ('gc_vit_small', 51.1),
    ('gc_vit_base', 90.3), ('gc_vit_large', 200.0)])
def test_sizes(arch, millions):
    """The published counts include the classifier."""
    with torch.device('meta'):
        model = GCViT(arch)
        counted = sum(p.numel() for p in model.parameters()) + (model.out_channels[-1] + 1) * 1000
    assert counted / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize('size', [(64, 96), (130, 250), (224, 300), (32, 32)])
def test_any_size(size):
    model = GCViT(**SMALL)
    levels = model(torch.randn(2, 3, *size))
    assert [tuple(level.shape) for level in levels] == [
        (2, 16 * 2**i, -(-size[0] // stride), -(-size[1] // stride)) for i, stride in enumerate(model.strides)]
    sum(level.sum() for level in levels).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_image_does_not_depend_on_its_neighbours():
    model = GCViT(**SMALL).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for both, alone in zip(model(images), model(images[1:])):
            torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)


def test_checkpointing_gives_the_same_gradient():
    images, gradients = torch.randn(1, 3, 64, 64), []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = GCViT(**SMALL, with_cp=with_cp)
        sum(level.sum() for level in model(images)).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_levels_and_freezing():
    model = GCViT(**SMALL, out_indices=(1, 2), frozen_stages=1).train()
    assert model.out_channels == (32, 64) and model.strides == (8, 16) and len(model.stages) == 3
    assert {name.split('.')[1] for name, p in model.named_parameters() if p.requires_grad} == {'1', '2'}
    assert not model.stem.training and not model.stages[0].training and model.stages[1].training


def test_exports_to_onnx(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    model = GCViT(**SMALL).eval()
    images = torch.randn(1, 3, 64, 96)
    torch.onnx.export(model, (images,), str(tmp_path / 'm.onnx'), opset_version=17, dynamo=False)
    session = onnxruntime.InferenceSession(str(tmp_path / 'm.onnx'))
    for ours, theirs in zip(model(images), session.run(None, {session.get_inputs()[0].name: images.numpy()})):
        torch.testing.assert_close(ours.detach(), torch.from_numpy(theirs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('wrapped, prefix', [('', None), ('module.', None), ('backbone.', 'backbone.'),
                                             ('module.backbone.', 'backbone')])
def test_pretrained_weights_under_several_names(tmp_path, wrapped, prefix):
    """Of timm, of several processes, of a detector; averaged copies beside them are left alone."""
    torch.manual_seed(0)
    source = GCViT(**SMALL).state_dict()
    state = {f'{wrapped}{name}': value for name, value in source.items()}
    outer = 'module.' if wrapped.startswith('module.') else ''
    averaged = {f'{outer}ema_{name.replace(".", "_")}': value + 1 for name, value in source.items()}
    torch.save(dict(state_dict={**state, **averaged}), tmp_path / 'weights.pth')
    model = GCViT(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'), prefix=prefix))
    model.init_weights()
    assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize('settings, message', [
    (dict(arch='gc_vit_giant'), 'not one of gc_vit_xxtiny'),
    (dict(out_indices=(2, 1)), r'rising levels in 0 \.\. 3'),
    (dict(frozen_stages=9), 'frozen_stages=9'),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='GCViT', **settings))
