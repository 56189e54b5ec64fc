"""Public layouts of Swin: the parts that need no other library; transformers itself is in tests/parity."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskforge.backbones import SwinTransformer
from maskforge.backbones.swin_weights import LAYOUTS, fit_sizes, from_ours, recognise, to_ours
from maskforge.checkpoints import load_weights

SMALL = dict(embed_dims=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=4)


@pytest.fixture
def swin():
    return random_swin(0)


def random_swin(seed, **settings):
    torch.manual_seed(seed)
    model = SwinTransformer(**{**SMALL, **settings}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def same_weights(a, b):
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][name], states[1][name])
                                                        for name in states[0])


@pytest.mark.parametrize('layout, names', [
    ('official', ['patch_embed.proj.weight', 'patch_embed.norm.bias', 'layers.0.downsample.reduction.weight',
                  'layers.2.downsample.norm.bias', 'layers.3.blocks.1.attn.qkv.bias',
                  'layers.3.blocks.1.mlp.fc1.weight', 'layers.1.blocks.0.attn.relative_position_index',
                  'layers.0.blocks.0.norm2.weight', 'norm3.bias']),
    ('mmdetection', ['patch_embed.projection.weight', 'patch_embed.norm.bias', 'stages.0.downsample.reduction.weight',
                     'stages.2.downsample.norm.bias', 'stages.3.blocks.1.attn.w_msa.qkv.bias',
                     'stages.0.blocks.0.attn.w_msa.proj.weight', 'stages.1.blocks.1.ffn.layers.0.0.weight',
                     'stages.1.blocks.1.ffn.layers.1.bias', 'stages.0.blocks.0.norm2.weight', 'norm3.bias',
                     'stages.0.blocks.0.attn.w_msa.relative_position_bias_table',
                     'stages.0.blocks.0.attn.w_msa.relative_position_index']),
    ('huggingface', ['swin.embeddings.patch_embeddings.projection.weight', 'swin.embeddings.norm.bias',
                     'swin.encoder.layers.0.blocks.1.attention.k_proj.bias',
                     'swin.encoder.layers.2.downsample.reduction.weight', 'hidden_states_norms.stage4.weight',
                     'swin.encoder.layers.0.blocks.0.attention.relative_position_bias.relative_position_bias_table']),
    ('huggingface_hub', ['embeddings.patch_embeddings.projection.weight', 'hidden_states_norms.stage1.bias',
                         'encoder.layers.3.blocks.1.attention.self.value.weight',
                         'encoder.layers.3.blocks.1.attention.output.dense.weight',
                         'encoder.layers.3.blocks.1.intermediate.dense.weight',
                         'encoder.layers.3.blocks.1.output.dense.bias',
                         'encoder.layers.0.blocks.0.layernorm_before.bias',
                         'encoder.layers.0.blocks.0.attention.self.relative_position_bias_table']),
])
def test_public_names(swin, layout, names):
    theirs = from_ours(swin.state_dict(), layout)
    assert set(names) <= set(theirs), set(names) - set(theirs)
    assert recognise(theirs) == layout


@pytest.mark.parametrize('layout', LAYOUTS)
def test_there_and_back(swin, layout):
    other = random_swin(1)
    report = load_weights(other, dict(model=from_ours(swin.state_dict(), layout)))
    assert report.complete and same_weights(swin, other)
    assert report.layout is None if layout == 'ours' else report.layout.endswith('SwinLayout')


def test_files_of_the_authors(swin, tmp_path):
    """Of classifiers: masks and indices in them, one norm, a head; no norm of the levels."""
    merges = {name: name.replace(f'layers.{stage}.', f'layers.{stage - 1}.') for stage in (1, 2, 3)
              for name in swin.state_dict() if name.startswith(f'layers.{stage}.downsample.')}
    state = {merges.get(name, name): value for name, value in swin.state_dict().items()
             if not name.startswith('norm')}
    extra = {'layers.0.blocks.1.attn_mask': torch.zeros(4, 16, 16), 'norm.weight': torch.ones(64),
             'layers.0.blocks.0.attn.relative_position_index': torch.zeros(16, 16, dtype=torch.long),
             'head.weight': torch.zeros(10, 64)}
    torch.save(dict(model={**state, **extra}), tmp_path / 'swin.pth')
    other = SwinTransformer(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'swin.pth')))
    other.init_weights()
    found = other.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in swin.state_dict().items() if name[:4] != 'norm')
    report = load_weights(other, tmp_path / 'swin.pth')
    assert report.layout == 'OfficialSwinLayout' and not report.unexpected and not report.mismatched
    assert {name.split('.')[0] for name in report.missing} == {'norm0', 'norm1', 'norm2', 'norm3'}


def plain_merging_of_mmdetection(x, state, prefix):
    """Unfold to 2 x 2 patches, norm, linear; x (B, H, W, C) with even sides."""
    patches = nn.Unfold(kernel_size=2, stride=2)(x.permute(0, 3, 1, 2)).transpose(1, 2)
    patches = F.layer_norm(patches, patches.shape[-1:], state[f'{prefix}.norm.weight'], state[f'{prefix}.norm.bias'])
    return (patches @ state[f'{prefix}.reduction.weight'].t()).unflatten(1, (x.shape[1] // 2, -1))


def plain_merging_of_the_authors(x, state, prefix):
    """Four strided slices side by side: the rows of a column first."""
    slices = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    patches = torch.cat(slices, dim=-1)
    patches = F.layer_norm(patches, patches.shape[-1:], state[f'{prefix}.norm.weight'], state[f'{prefix}.norm.bias'])
    return patches @ state[f'{prefix}.reduction.weight'].t()


@pytest.mark.parametrize('layout, merge, prefix', [
    ('mmdetection', plain_merging_of_mmdetection, 'stages.{}.downsample'),
    ('official', plain_merging_of_the_authors, 'layers.{}.downsample')])
@pytest.mark.parametrize('stage', [0, 1, 2])
def test_order_of_merged_tokens(swin, layout, merge, prefix, stage):
    """The same numbers from weights that came from, and went to, the other order."""
    x = torch.randn(2, 6, 10, 8 * 2**stage)
    theirs = from_ours(swin.state_dict(), layout)
    random = {name: torch.randn_like(value) if '.downsample.' in name else value for name, value in theirs.items()}
    for state in (theirs, random):
        ours = random_swin(1)
        load_weights(ours, state)
        with torch.no_grad():
            torch.testing.assert_close(ours.layers[stage + 1].downsample(x), merge(x, state, prefix.format(stage)),
                                       atol=1e-4, rtol=1e-5)


def test_tables_of_another_window_are_resized(swin, engine_log):
    other = random_swin(1, window_size=7)
    report = load_weights(other, swin.state_dict())
    assert not report.mismatched and other.layers[0].blocks[0].attn.relative_position_bias_table.shape == (169, 1)
    assert any('windows of 4 x 4 tokens are resized to 7 x 7' in text for text in engine_log)
    name = 'layers.1.blocks.0.attn.relative_position_bias_table'
    flat = {name: torch.full((49, 2), 0.5)}
    assert torch.allclose(fit_sizes(flat, other)[name], torch.full((169, 2), 0.5))
    # a bias that grows with the vertical offset still does, and knows nothing of the horizontal one
    ramp = torch.arange(7.).repeat_interleave(7)[:, None].expand(-1, 2)
    planes = fit_sizes({name: ramp}, other)[name].unflatten(0, (13, 13))
    assert (planes[1:, :, 0] > planes[:-1, :, 0]).all() and torch.allclose(planes, planes[:, :1])
    assert torch.allclose(planes[6, 0], torch.tensor([3., 3.]), atol=1e-5)


def test_tables_of_other_heads_are_reported(swin):
    other = random_swin(1, num_heads=(2, 2, 4, 8), window_size=7)
    report = load_weights(other, swin.state_dict())
    assert [name for name, *_ in report.mismatched] == [
        f'layers.0.blocks.{block}.attn.relative_position_bias_table' for block in (0, 1)]


@pytest.mark.parametrize('layout', ['official', 'mmdetection', 'huggingface'])
def test_absolute_positions(layout):
    swin = random_swin(0, ape=True, pretrain_img_size=32)
    theirs = from_ours(swin.state_dict(), layout)
    if layout == 'official':  # as classifiers have it
        theirs['absolute_pos_embed'] = theirs['absolute_pos_embed'].flatten(2).transpose(1, 2)
    assert same_weights(swin, filled(random_swin(1, ape=True, pretrain_img_size=32), theirs))
    larger = filled(random_swin(1, ape=True, pretrain_img_size=64), theirs)
    assert larger.absolute_pos_embed.shape == (1, 8, 16, 16)


def filled(model, state):
    assert load_weights(model, state).complete
    return model


def test_indices_are_those_of_the_window(swin):
    """What a strict loader of the authors' or MMDetection's code compares: offset (row, column) -> row of the table."""
    index = from_ours(swin.state_dict(), 'official')['layers.0.blocks.0.attn.relative_position_index']
    tokens = [(row, column) for row in range(4) for column in range(4)]
    expected = [[(a[0] - b[0] + 3) * 7 + a[1] - b[1] + 3 for b in tokens] for a in tokens]
    assert index.tolist() == expected


def test_names_of_something_else():
    assert recognise(['stem.conv1.weight', 'layer1.0.conv1.weight']) is None
    with pytest.raises(ValueError, match="layout='detectron' is not one of ours, official"):
        to_ours({}, 'detectron')
