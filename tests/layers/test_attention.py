"""Our attention against torch's own module with the same parameters."""
import pytest
import torch
from torch import nn

from maskforge.layers.attention import MultiHeadAttention


def modules() -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    nn.init.normal_(ours.in_proj_bias)
    theirs.load_state_dict(ours.state_dict())
    return ours.eval(), theirs.eval()


@pytest.mark.parametrize('explicit', [False, True])
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('own', [pytest.param(True, id='among queries'), pytest.param(False, id='to a memory')])
def test_equals_torch(explicit, masked, own):
    ours, theirs = modules()
    ours.explicit = explicit
    query = torch.randn(2, 5, 16)
    key, value = (query, torch.randn(2, 5, 16)) if own else (torch.randn(2, 7, 16), torch.randn(2, 7, 16))
    blocked = torch.rand(2, 5, key.shape[1]) < 0.5 if masked else None
    if masked:
        blocked[..., 0] = False
    repeated = None if blocked is None else blocked.repeat_interleave(4, dim=0)
    expected = theirs(query, key, value, attn_mask=repeated, need_weights=False)[0]
    assert torch.allclose(ours(query, key, value, blocked=blocked), expected, atol=1e-6)


@pytest.mark.parametrize('explicit', [False, True])
def test_dropout_only_while_training(explicit):
    ours = MultiHeadAttention(16, 4, dropout=0.5)
    ours.explicit = explicit
    x = torch.randn(1, 6, 16)
    assert not torch.equal(ours(x, x, x), ours(x, x, x))
    ours.eval()
    assert torch.equal(ours(x, x, x), ours(x, x, x))
