"""A SAM 2 of some ten thousand weights, for tests."""
from typing import Any

import torch

from maskforge.models.sam2.network import SAM2Network

TINY_TRUNK = dict(embed_dim=8, num_heads=1, stages=(1, 2, 3, 1), global_att_blocks=(4,), window_spec=(8, 4, 4, 2),
                  window_pos_embed_bkg_spatial_size=(3, 3))
TINY = dict(arch=TINY_TRUNK, image_size=64, hidden_dim=32, memory_dim=8, memory_layers=2, memory_feedforward=16,
            decoder_heads=2, decoder_mlp=16)


def tiny_sam2_network(*, seed: int = 0, **changes: Any) -> SAM2Network:
    """Return the network with weights that depend on ``seed``; every part of them acts (nothing is zero or one)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SAM2Network(**{**TINY, **changes})
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.add_(torch.randn_like(parameter) * (0.3 if name.endswith('gamma') else 0.05))
    return network
