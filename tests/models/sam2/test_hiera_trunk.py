"""The trunk's position code against timm's."""
import pytest
import torch
from timm.models.hieradet_sam2 import HieraDet

from maskforge.models.sam2.hiera_trunk import HieraTrunk


@pytest.mark.parametrize('size', [(16, 16), (24, 8), (8, 8)])
def test_position_code_and_its_gradients_equal_timm_s(size):
    torch.manual_seed(0)
    trunk = HieraTrunk(embed_dim=8, stages=(1, 1), global_pos_size=(7, 5), window_spec=(8, 4), q_pool=1,
                       global_att_blocks=())
    results = []
    for method in (HieraDet._pos_embed, HieraTrunk._pos_embed):
        x = torch.ones(2, *size, 8, requires_grad=True)
        found = method(trunk, x)
        results.append([found, *torch.autograd.grad(found.square().sum(), (x, trunk.pos_embed,
                                                                           trunk.pos_embed_window))])
    assert results[0][2].abs().max() > 0
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(*results, strict=True))
