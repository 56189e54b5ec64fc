"""Pretrained weights: names to URLs, cache, checks, messages."""
import hashlib
import shutil

import pytest
import torch
import torchvision
from mmengine.registry import DefaultScope

from maskforge.backbones import ResNet, weight_cache
from maskforge.backbones.pretrained import Pretrained
from maskforge.backbones.weight_source import find_source

OFFLINE = 'http://127.0.0.1:9/nothing-{digest}.pth'


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


@pytest.mark.parametrize('name, url, digest', [
    ('torchvision://resnet50', 'https://download.pytorch.org/models/resnet50-0676ba61.pth', '0676ba61'),
    ('torchvision://resnet50.IMAGENET1K_V2', 'https://download.pytorch.org/models/resnet50-11ad3fa6.pth', '11ad3fa6'),
    ('open-mmlab://detectron2/resnet50_caffe',
     'https://download.openmmlab.com/pretrain/third_party/resnet50_msra-5891d200.pth', '5891d200'),
    ('https://host/a/b-0123456789ab.pth?x=1', 'https://host/a/b-0123456789ab.pth?x=1', '0123456789ab'),
    ('https://host/model.pth', 'https://host/model.pth', None),
])
def test_names_to_urls(name, url, digest):
    source = find_source(name)
    assert (source.url, source.sha256) == (url, digest)


def test_timm_names_to_urls():
    assert find_source('timm://resnet18').url.endswith('.pth')
    source = find_source('timm://hiera_tiny_224.mae')
    assert source.url == 'https://huggingface.co/timm/hiera_tiny_224.mae/resolve/main/model.safetensors'
    assert source.timm_model == 'hiera_tiny_224.mae'


@pytest.mark.parametrize('name, message', [
    ('torchvision://resnet5', "no model 'resnet5'; near names: .*resnet50"),
    ('torchvision://resnet50.V9', "no weights 'V9', only IMAGENET1K_V1, IMAGENET1K_V2"),
    ('open-mmlab://detectron2/resnet50_cafe', 'near names: .*detectron2/resnet50_caffe'),
    ('timm://resnet18x', "no model 'resnet18x'; near names: .*resnet18"),
    ('s4://bucket/x.pth', "scheme 's4://' is not known; use torchvision://"),
])
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        find_source(name)


def test_offline_is_one_clear_error(cache):
    with pytest.raises(ConnectionError) as caught:
        weight_cache.fetch(find_source(OFFLINE.format(digest='a' * 8)))
    text = str(caught.value)
    assert '127.0.0.1:9' in text and str(cache) in text and 'model.backbone.init_cfg=None' in text
    assert '\n' not in text and not list(cache.iterdir())


def test_cached_file_is_used_without_a_network(cache, resnet18_file):
    model, path = resnet18_file
    cache.mkdir(parents=True)
    shutil.copy(path, cache / path.name)
    ours = ResNet(18, init_cfg=dict(type='Pretrained', checkpoint=f'http://127.0.0.1:9/{path.name}'))
    ours.init_weights()
    assert torch.equal(ours.layer4[1].conv2.weight, model.layer4[1].conv2.weight)


def test_damaged_cache_is_an_error(cache, resnet18_file):
    cache.mkdir(parents=True)
    (cache / 'x-00000000.pth').write_bytes(b'not this')
    with pytest.raises(ValueError, match=r'sha256 of .* but 00000000 was expected.* delete it'):
        weight_cache.fetch(find_source('http://127.0.0.1:9/x-00000000.pth'))


def test_download_is_atomic_and_checked(cache, resnet18_file):
    _, path = resnet18_file
    url = path.as_uri()  # urllib reads file:// as it reads http://
    source = find_source(f'https://host/{path.name}')
    source = type(source)(source.name, url, source.file_name, source.sha256)
    assert weight_cache.fetch(source).read_bytes() == path.read_bytes()
    bad = type(source)(source.name, url, 'other.pth', 'f' * 8)
    with pytest.raises(ValueError, match='was expected'):
        weight_cache.fetch(bad)
    assert [file.name for file in cache.iterdir()] == [path.name]


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
    with pytest.raises(ValueError, match=r'fits ResNet too little: .* tensors agree\. Missing: .*min_matched'):
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
    assert 'conv1.weight (64, 1, 7, 7) instead of (64, 3, 7, 7)' in notes[0]


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r"checkpoint='nowhere/x.pth': there is no such file"):
        Pretrained('nowhere/x.pth')(ResNet(18))
