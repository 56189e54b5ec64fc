"""Sizes and names of the released files, and layouts that need no other library; transformers is in tests/parity."""
import hashlib

import pytest
import torch
from tiny_sam2 import TINY, TINY_TRUNK, tiny_sam2_network
from torch import nn

from maskforge.checkpoints import load_weights
from maskforge.models.sam2 import HieraTrunkLayout, HuggingFaceSAM2Layout, OfficialSAM2Layout
from maskforge.models.sam2.network import SAM2Network
from maskforge.registry import MODELS

OFFICIAL, HF, TRUNK = OfficialSAM2Layout(), HuggingFaceSAM2Layout(), HieraTrunkLayout()
# parameters of 2.1, entries of 2.1 and 2.0, digest of the sorted "name shape" lines of either file
RELEASED = dict(tiny=(38_962_498, 471, 468, 'bac6d522c4ff90fe', '5e523b8dafb774df'),
                small=(46_060_354, 519, 516, 'c9876e8c1ec0adc3', '2b023d3d2f211cbf'),
                base_plus=(80_850_178, 615, 612, 'e2d94a28cde080da', 'b5ec9a41f6bb0a5f'),
                large=(224_446_642, 903, 900, 'e5145693245ec445', 'eb5893e1dfbfb666'))
OF_2_1 = {'no_obj_embed_spatial', 'obj_ptr_tpos_proj.weight', 'obj_ptr_tpos_proj.bias'}


class Model(nn.Module):
    """What the layouts know of the registered model: its name and where the network is."""

    def __init__(self, network):
        super().__init__()
        self.network = network


Model.__name__ = 'SAM2'


def names_and_shapes(state):
    return '\n'.join(f'{name} {tuple(value.shape)}' for name, value in sorted(state.items()))


@pytest.mark.parametrize('arch', RELEASED)
def test_sizes_and_names_of_the_release(arch):
    parameters, *entries_and_digests = RELEASED[arch]
    for version, fewer, entries, digest in zip(('2.1', '2.0'), (0, 16_512), entries_and_digests[:2],
                                               entries_and_digests[2:]):
        with torch.device('meta'):
            network = SAM2Network(arch=arch, version=version)
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters - fewer
        state = OFFICIAL.from_ours(network.state_dict(), network)
        assert len(state) == entries
        assert hashlib.sha256(names_and_shapes(state).encode()).hexdigest()[:16] == digest
        assert {name for name, _ in network.named_buffers()} == {
            'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'}


@pytest.fixture
def network():
    return tiny_sam2_network()


@pytest.mark.parametrize('layout', [OFFICIAL, HF], ids=['official', 'huggingface'])
@pytest.mark.parametrize('whole', [False, True], ids=['network', 'model'])
def test_there_and_back(layout, whole, network):
    model = Model(network) if whole else network
    theirs = layout.from_ours(model.state_dict(), model)
    assert [type(other).__name__ for other in (OFFICIAL, HF) if other.matches(theirs)] == [type(layout).__name__]
    other = tiny_sam2_network(seed=1)
    report = load_weights(Model(other) if whole else other, dict(model=theirs), min_matched=1.)
    assert report.complete and report.layout == type(layout).__name__
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in other.state_dict().items())


def test_own_names_are_of_no_layout(network):
    for state in (network.state_dict(), Model(network).state_dict()):
        assert not OFFICIAL.matches(state) and not HF.matches(state)


def test_a_file_of_the_other_version_is_told(network):
    old = tiny_sam2_network(version='2.0')
    report = load_weights(network, dict(model=OFFICIAL.from_ours(old.state_dict(), old)))
    assert set(report.missing) == OF_2_1 and not report.unexpected
    report = load_weights(old, dict(model=OFFICIAL.from_ours(network.state_dict(), network)))
    assert set(report.unexpected) == OF_2_1 and not report.missing


def test_transformers_has_not_every_setting():
    network = tiny_sam2_network(pred_obj_scores_mlp=False)
    with pytest.raises(ValueError, match=r'pred_obj_scores_mlp=True; this network has False\. Write the official'):
        HF.from_ours(network.state_dict(), network)


def trunk_files(network):
    """The trunk's weights as other files have them."""
    trunk = network.image_encoder.trunk.state_dict()
    official = OFFICIAL.from_ours(network.state_dict(), network)
    mae = {name.replace('pos_embed_window', 'pos_embed_win'): value for name, value in trunk.items()}
    return dict(
        whole=dict(model=official), timm={**trunk, 'head.norm.weight': torch.ones(64)},
        huggingface=HF.from_ours(network.state_dict(), network),
        release={name.removeprefix('image_encoder.trunk.'): value for name, value in official.items()
                 if name.startswith('image_encoder.trunk.')},
        hiera={**mae, 'norm.weight': torch.ones(64), 'decoder_embed.weight': torch.ones(2, 64)})


@pytest.mark.parametrize('file', ['whole', 'timm', 'huggingface', 'release', 'hiera'])
def test_trunk_alone(file, network, tmp_path):
    torch.save(trunk_files(network)[file], tmp_path / 'trunk.pth')
    other = tiny_sam2_network(seed=1, trunk_checkpoint=str(tmp_path / 'trunk.pth'))
    neck = other.image_encoder.neck.state_dict()['convs.0.conv.weight'].clone()
    other.init_weights()
    wanted = network.image_encoder.trunk.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in other.image_encoder.trunk.state_dict().items())
    assert torch.equal(neck, other.image_encoder.neck.state_dict()['convs.0.conv.weight'])
    back = TRUNK.from_ours(wanted, other.image_encoder.trunk)
    assert all(torch.equal(value, OFFICIAL.from_ours(network.state_dict(), network)[name])
               for name, value in back.items())


def test_position_codes_of_single_tokens_are_dropped(network, tmp_path, engine_log):
    """Hiera without absolute windows has one code per token of its training images."""
    file = trunk_files(network)['hiera']
    file['pos_embed'] = torch.zeros(1, 3136, TINY_TRUNK['embed_dim'])
    del file['pos_embed_win']
    torch.save(dict(model_state=file), tmp_path / 'mae.pth')
    other = tiny_sam2_network(seed=1, trunk_checkpoint=str(tmp_path / 'mae.pth'))
    before = other.image_encoder.trunk.pos_embed.clone()
    other.init_weights()
    assert torch.equal(before, other.image_encoder.trunk.pos_embed)
    assert any('dropped, other shape: pos_embed: (1, 3136, 8)' in line for line in engine_log)


def test_the_registered_model(network):
    """What a model keeps beside its network is of no concern to a layout."""
    model = MODELS.build(dict(type='SAM2', network=TINY))
    report = load_weights(model, dict(model=OFFICIAL.from_ours(network.state_dict(), network)), min_matched=1.)
    assert report.layout == 'OfficialSAM2Layout' and not report.unexpected and not report.mismatched
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in model.network.state_dict().items())
    assert OFFICIAL.from_ours(model.state_dict(), model).keys() == OFFICIAL.from_ours(network.state_dict(),
                                                                                     network).keys()
