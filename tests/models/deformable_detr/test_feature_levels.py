import torch
from torch.nn import functional as F

from maskforge.models.deformable_detr.feature_levels import FeatureLevels, padding_mask


def maps():
    torch.manual_seed(0)
    return [torch.randn(2, 8, 6, 8), torch.randn(2, 16, 3, 4)]


def test_padding_mask():
    mask = padding_mask([(3, 4), (2, 5, 3)], (3, 5), torch.device('cpu'))
    assert mask.tolist() == [[[False] * 4 + [True]] * 3, [[False] * 5, [False] * 5, [True] * 5]]


def test_tokens_of_all_levels():
    levels = FeatureLevels([8, 16], extra_level=True, hidden_dim=32)
    padding = padding_mask([(48, 64), (24, 40)], (48, 64), torch.device('cpu'))
    given = maps()
    tokens = levels(given, padding, padded=True)
    assert tokens.shapes == ((6, 8), (3, 4), (2, 2))
    assert tokens.features.shape == tokens.position.shape == (2, 64, 32)
    extra = F.group_norm(F.conv2d(given[1], levels.projections[2][0].weight, None, 2, 1), 32)
    assert torch.allclose(tokens.features[:, 60:], extra.flatten(2).transpose(1, 2), atol=1e-5)
    assert not tokens.padding[0].any()
    # nearest neighbour from the full resolution: rows 0, 24 and columns 0, 32
    assert tokens.padding[1, 60:].tolist() == [False, False, True, True]
    assert torch.allclose(tokens.valid_ratios[1], torch.tensor([[5 / 8, 3 / 6], [3 / 4, 2 / 3], [1.0, 0.5]]))


def test_level_codes_are_added_to_the_positions_alone():
    levels = FeatureLevels([8, 16], extra_level=False, hidden_dim=32)
    padding = torch.zeros(2, 48, 64, dtype=torch.bool)
    before = levels(maps(), padding, padded=False)
    with torch.no_grad():
        levels.level_embed[1] += 1
    after = levels(maps(), padding, padded=False)
    assert before.padding is None and torch.equal(before.features, after.features)
    assert torch.equal(before.position[:, :48], after.position[:, :48])
    assert torch.allclose(before.position[:, 48:] + 1, after.position[:, 48:], atol=1e-6)


def test_fresh_projections():
    levels = FeatureLevels([8, 16], extra_level=True, hidden_dim=32)
    assert [tuple(p[0].weight.shape) for p in levels.projections] == [(32, 8, 1, 1), (32, 16, 1, 1), (32, 16, 3, 3)]
    for conv, norm in levels.projections:
        fan = conv.weight[0].numel() + conv.weight[:, 0].numel()
        assert conv.weight.abs().max() <= (6 / fan)**0.5 and not conv.bias.any()
        assert norm.num_groups == 32
