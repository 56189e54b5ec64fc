"""transformers' Swin and ours: its weights in our network, ours in its, through the registered layouts."""
import pytest
import torch

from maskforge.backbones import SwinTransformer
from maskforge.backbones.swin_weights import from_ours, recognise
from maskforge.checkpoints import load_checkpoint, load_weights

transformers = pytest.importorskip('transformers')

STAGES = ['stage1', 'stage2', 'stage3', 'stage4']
SIZES = [(64, 96), (70, 100), (96, 160), (33, 131)]


def their_model(seed, window, **settings):
    torch.manual_seed(seed)
    config = transformers.SwinConfig(embed_dim=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=window,
                                     image_size=128, drop_path_rate=0., out_features=STAGES, **settings)
    model = transformers.SwinBackbone(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from a gentle start: every path shows
            parameter.copy_(parameter + 0.2 * torch.randn_like(parameter))
    return model


def our_model(window, **settings):
    return SwinTransformer(embed_dims=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=window,
                           drop_path_rate=0., **settings).eval()


def check(ours, theirs, sizes=SIZES):
    """In double precision, so that no tolerance hides a difference."""
    ours, theirs = ours.double(), theirs.double()
    for size in sizes:
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            for a, b in zip(ours(images), theirs(images).feature_maps):
                torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('window', [4, 7])
def test_their_state_in_our_network(window):
    theirs, ours = their_model(0, window), our_model(window)
    assert load_weights(ours, theirs.state_dict()).layout == 'HuggingFaceSwinLayout'
    check(ours, theirs)


def test_their_file_in_our_network(tmp_path):
    """Files carry the names that are on the hub."""
    theirs = their_model(0, 4)
    theirs.save_pretrained(tmp_path)
    file = tmp_path / 'model.safetensors'
    assert recognise(load_checkpoint(file)) == 'huggingface_hub'
    ours = our_model(4, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    ours.init_weights()
    check(ours, theirs)


@pytest.mark.parametrize('layout', ['huggingface', 'huggingface_hub'])
def test_our_weights_in_their_network(layout, tmp_path):
    from safetensors.torch import save_file
    ours, theirs = our_model(4), their_model(1, 4)
    state = {name: value.contiguous() for name, value in from_ours(ours.state_dict(), layout).items()}
    if layout == 'huggingface':
        found = theirs.load_state_dict(state, strict=False)
        assert not found.unexpected_keys and {name.rsplit('.', 1)[0] for name in found.missing_keys} == {
            'swin.layernorm'}
    else:
        theirs.save_pretrained(tmp_path)
        save_file(state, tmp_path / 'model.safetensors', metadata={'format': 'pt'})
        theirs, found = transformers.SwinBackbone.from_pretrained(tmp_path, output_loading_info=True)
        assert not found['unexpected_keys'] and not found['mismatched_keys']
        assert all('layernorm' in name and 'encoder' not in name for name in found['missing_keys'])
    check(ours, theirs.eval())


def test_a_classifier_fills_all_but_the_norms_of_the_levels():
    classifier = transformers.SwinForImageClassification(their_model(0, 4).config)
    report = load_weights(our_model(4), classifier.state_dict())
    assert not report.unexpected and {name.split('.')[0] for name in report.missing} == {
        'norm0', 'norm1', 'norm2', 'norm3'}


def test_absolute_positions():
    theirs, ours = their_model(0, 4, use_absolute_embeddings=True), our_model(4, ape=True, pretrain_img_size=128)
    assert load_weights(ours, theirs.state_dict()).complete
    check(ours, theirs, [(128, 128)])
