"""Pretrained weights: names to URLs, cache, checks, messages."""
import hashlib
import shutil

import pytest
import torch
import torchvision
from mmengine.registry import DefaultScope

from maskforge.backbones import Pretrained, ResNet, TimmBackbone
from maskforge.backbones.timm_weights import timm_address


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    return tmp_path / 'torch' / 'hub' / 'checkpoints'


@pytest.fixture
def resnet18_file(tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    path = tmp_path / 'source.pth'
    torch.save(model.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return model, path.rename(tmp_path / f'r18-{digest[:8]}.pth')


def test_timm_names_to_addresses():
    assert timm_address('resnet18')[0].startswith('https://github.com/')
    assert timm_address('hiera_tiny_224.mae') == (
        'https://huggingface.co/timm/hiera_tiny_224.mae/resolve/main/model.safetensors',
        'timm--hiera_tiny_224.mae--model.safetensors')


@pytest.mark.parametrize('name, message', [
    ('torchvision://resnet5', r"'torchvision://resnet5' is not a model of torchvision; did you mean .*resnet50"),
    ('torchvision://resnet50.V9', '(?i)resnet50 has the weights IMAGENET1K_V1, IMAGENET1K_V2'),
    ('open-mmlab://detectron2/resnet50_cafe', r'did you mean .*detectron2/resnet50_caffe'),
    ('timm://resnet18x', r"no model 'resnet18x'; near names: .*resnet18"),
])
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        Pretrained(name)(ResNet(18))


@pytest.mark.parametrize('name', ['torchvision://resnet18', 'timm://resnet18', 'timm://hiera_tiny_224.mae',
                                  'open-mmlab://detectron2/resnet50_caffe', 'https://somewhere/x-0a1b2c3d.pth'])
def test_offline_is_one_clear_error(cache, monkeypatch, name):
    def offline(*_, **__):
        raise OSError('no network')

    monkeypatch.setattr('urllib.request.urlopen', offline)
    with pytest.raises(FileNotFoundError) as caught:
        Pretrained(name)(ResNet(18))
    text = str(caught.value)
    assert 'https://' in text and str(cache) in text and 'model.backbone.init_cfg=None' in text
    assert '\n' not in text and not any(file.suffix == '.pth' for file in cache.iterdir())


def test_cached_file_is_used_without_a_network(cache, resnet18_file):
    model, path = resnet18_file
    cache.mkdir(parents=True)
    shutil.copy(path, cache / path.name)
    ours = ResNet(18, init_cfg=dict(type='Pretrained', checkpoint=f'http://127.0.0.1:9/{path.name}'))
    ours.init_weights()
    assert torch.equal(ours.layer4[1].conv2.weight, model.layer4[1].conv2.weight)


def test_timm_weights_from_the_cache(cache):
    import timm
    torch.manual_seed(0)
    plain = timm.create_model('resnet18')
    cache.mkdir(parents=True)
    name = timm_address('hiera_tiny_224.mae')[1]
    assert name.endswith('.safetensors')
    torch.save(plain.state_dict(), cache / 'partial')
    digest = hashlib.sha256((cache / 'partial').read_bytes()).hexdigest()[:8]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('maskforge.backbones.timm_weights.timm_address',
                      lambda model: (f'https://host/r-{digest}.pth', f'r-{digest}.pth'))
        (cache / 'partial').rename(cache / f'r-{digest}.pth')
        ours, adapter = ResNet(18), TimmBackbone('resnet18', pretrained=True, out_indices=(4,))
        Pretrained('timm://resnet18')(ours)
        adapter.init_weights()
    assert torch.equal(ours.layer2[0].conv1.weight, plain.layer2[0].conv1.weight)
    assert torch.equal(adapter.timm_model.layer2[0].conv1.weight, plain.layer2[0].conv1.weight)


@pytest.mark.parametrize('sha256', ['right', '0123abcd'])
def test_sha256_of_a_file(resnet18_file, sha256):
    _, path = resnet18_file
    if sha256 == 'right':
        Pretrained(str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())(ResNet(18))
    else:
        with pytest.raises(ValueError, match=r'sha256 of .* but 0123abcd was expected'):
            Pretrained(str(path), sha256=sha256)(ResNet(18))


@pytest.mark.parametrize('scope', [None, 'maskforge'])
def test_init_weights_uses_ours_in_every_scope(resnet18_file, scope):
    model, path = resnet18_file
    ours = ResNet(18, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with DefaultScope.overwrite_default_scope(scope):
        ours.init_weights()
    assert torch.equal(ours.conv1.weight, model.conv1.weight)


def test_prefix_and_wrappers(tmp_path):
    torch.manual_seed(1)
    model = ResNet(18)
    state = {f'module.backbone.{key}': value for key, value in model.state_dict().items()}
    torch.save(dict(state_dict=state, meta=dict(epoch=3)), tmp_path / 'detector.pth')
    fresh = ResNet(18)
    Pretrained(str(tmp_path / 'detector.pth'), prefix='backbone')(fresh)
    assert torch.equal(fresh.layer1[0].conv1.weight, model.layer1[0].conv1.weight)
    with pytest.raises(ValueError, match=r"no keys below prefix='neck\.'; its top-level parts are backbone"):
        Pretrained(str(tmp_path / 'detector.pth'), prefix='neck')(fresh)


def test_weights_that_match_too_little(resnet18_file):
    _, path = resnet18_file
    with pytest.raises(ValueError, match=r'(?s)does not fit ResNet: .*min_matched'):
        Pretrained(str(path))(ResNet(101))


def test_other_shapes_are_listed(resnet18_file, tmp_path, caplog):
    model, _ = resnet18_file
    state = model.state_dict()
    state['conv1.weight'] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / 'grey.pth')
    with pytest.MonkeyPatch.context() as patch:
        notes = []
        patch.setattr('maskforge.backbones.pretrained.print_log', lambda text, **_: notes.append(text))
        Pretrained(str(tmp_path / 'grey.pth'))(ResNet(18))
    assert 'conv1.weight: (64, 1, 7, 7) in the file, (64, 3, 7, 7) in the model' in notes[0]


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r'checkpoint nowhere/x\.pth does not exist'):
        Pretrained('nowhere/x.pth')(ResNet(18))
