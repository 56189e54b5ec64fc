"""Weights by address and by name."""
import hashlib

import pytest
import torch

from maskforge.checkpoints import load_checkpoint, remote, save_checkpoint


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    return tmp_path / 'home' / 'hub' / 'checkpoints'


@pytest.fixture
def server(tmp_path):
    """A file:// address whose name carries the right hash."""
    path = save_checkpoint(dict(state_dict=dict(a=torch.ones(2))), tmp_path / 'x.pth')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(tmp_path / f'model-{digest[:8]}.pth')


def test_a_file_is_fetched_once(server, cache):
    url = f'file://{server}'
    assert load_checkpoint(url)['state_dict']['a'].tolist() == [1, 1]
    assert (cache / server.name).is_file()
    server.unlink()
    assert load_checkpoint(url)['state_dict']['a'].tolist() == [1, 1]
    assert [p.name for p in cache.iterdir()] == [server.name]


def test_wrong_content_is_refused(server, cache):
    wrong = server.rename(server.with_name('model-0123abcd.pth'))
    with pytest.raises(ValueError, match='its name says 0123abcd'):
        load_checkpoint(f'file://{wrong}')
    assert not list(cache.glob('*.pth'))


def test_a_damaged_copy_is_fetched_again(server, cache):
    cache.mkdir(parents=True)
    (cache / server.name).write_bytes(b'damaged')
    assert load_checkpoint(f'file://{server}')['state_dict']['a'].tolist() == [1, 1]


def test_offline_error_names_address_cache_and_remedy(cache):
    url = 'https://127.0.0.1:9/weights-12345678.pth'
    with pytest.raises(FileNotFoundError) as caught:
        load_checkpoint(url)
    message = str(caught.value)
    assert url in message and str(cache / 'weights-12345678.pth') in message and 'TORCH_HOME' in message


@pytest.mark.parametrize(('name', 'expected'), [
    ('torchvision://resnet50', 'resnet50-0676ba61.pth'),
    ('torchvision://resnet50.imagenet1k_v2', 'resnet50-11ad3fa6.pth'),
    ('modelzoo://resnet18', 'resnet18-f37072fd.pth'),
    ('open-mmlab://detectron2/resnet50_caffe', 'resnet50_msra-5891d200.pth'),
    ('https://x.org/a.pth', 'https://x.org/a.pth'),
])
def test_names(name, expected):
    assert remote.resolve(name).endswith(expected)


@pytest.mark.parametrize(('name', 'text'), [
    ('torchvision://resnet51', 'did you mean'),
    ('torchvision://resnet50.v9', 'has the weights imagenet1k_v1, imagenet1k_v2'),
    ('open-mmlab://resnet50_cafe', "is not in OpenMMLab's list"),
])
def test_unknown_names(name, text):
    with pytest.raises(ValueError, match=text):
        remote.resolve(name)
