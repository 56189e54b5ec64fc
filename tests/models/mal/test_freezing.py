"""Both readings of frozen_stages."""
import pytest
import torch

from maskforge.models.mal.freezing import frozen_indices


@pytest.mark.parametrize(('stages', 'reading', 'expected'), [
    ([-1], 'list', []), ([-1], 'range', []),
    ([0], 'list', [0]), ([2, 4], 'list', [2, 4]), ([0, 3, 3, -1], 'list', [0, 3]),
    # [n] is [0, n]; the embedding is frozen for a = 0 and b > 0; blocks max(a, 1) to b
    ([3], 'range', [0, 1, 2, 3]), ([0, 2], 'range', [0, 1, 2]), ([2, 4], 'range', [2, 3, 4]), ([0], 'range', []),
    ([4, 2], 'range', []),
])
def test_readings(stages, reading, expected):
    assert frozen_indices(stages, reading, 6) == expected


@pytest.mark.parametrize(('stages', 'reading', 'message'), [
    ([7], 'list', r'frozen_stages=\[7\] must lie in -1 \(nothing\), 0 \(patch embedding\) and 1 to 6'),
    ([1, 2, 3], 'range', 'read as a range and needs one or two ends'),
    ([1], 'set', "frozen_stages_as='set' is not one of list, range"),
])
def test_errors(stages, reading, message):
    with pytest.raises(ValueError, match=message):
        frozen_indices(stages, reading, 6)


@pytest.mark.parametrize(('settings', 'frozen'), [
    (dict(frozen_stages=[0, 2]), ('patch_embed.', 'blocks.1.')),
    (dict(frozen_stages=[0, 2], frozen_stages_as='range'), ('patch_embed.', 'blocks.')),
    (dict(frozen_stages=[0, 2], compat='reference'), ('patch_embed.', 'blocks.')),
    (dict(frozen_stages=[0, 2], compat='tao6'), ('patch_embed.', 'blocks.1.')),
    (dict(frozen_stages=[1], arch='fan_tiny_12_p16_224', backbone=dict(embed_dim=32, depth=2)), ('blocks.0.',)),
    (dict(), ()),
])
def test_frozen_parts_of_the_model(tiny, settings, frozen):
    model = tiny(**settings).train()
    for name, parameter in model.student.backbone.named_parameters():
        fixed = bool(frozen) and name.startswith(frozen)
        always = name.startswith(('cls_attn_blocks.', 'cls_token')) and 'fan' in settings.get('arch', '')
        assert always or parameter.requires_grad != fixed, name
    containers = ('', 'blocks')
    for name, module in model.student.backbone.named_modules():
        if name in containers:
            continue
        assert module.training != bool(frozen and f'{name}.'.startswith(frozen)), name


def test_batch_norm_of_frozen_blocks_stands_still(tiny, crops):
    model = tiny(arch='fan_tiny_12_p16_224', backbone=dict(embed_dim=32, depth=2), frozen_stages=[1]).train()
    blocks = model.student.backbone.blocks
    before = [block.mlp.mlp_v.dwconv.bn.running_mean.clone() for block in blocks]
    model.student(crops(2))
    changed = [not torch.equal(old, block.mlp.mlp_v.dwconv.bn.running_mean) for old, block in zip(before, blocks)]
    assert changed == [False, True]


def test_other_backbones_freeze_by_their_own_options(tiny):
    backbone = dict(type='ResNet', depth=18, base_channels=8, num_stages=1, out_indices=[0])
    assert tiny(arch=None, backbone=backbone).student.roi_head.mlp1.in_features == 8
    with pytest.raises(ValueError, match=r'frozen_stages=\[1\] needs a backbone with stages\(\).*ResNet has none'):
        tiny(arch=None, backbone=backbone, frozen_stages=[1])
