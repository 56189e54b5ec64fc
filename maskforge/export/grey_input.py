"""Files that take one grey channel in the place of three colours."""
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.structures import ExportSpec


class GreyInput(nn.Module):
    """Repeats the channel for a network that was trained on three."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, 'B 1 H W']) -> tuple[Tensor, ...]:
        """Run the network on (B, 3, H, W)."""
        return self.network(torch.cat([images] * 3, dim=1))


def with_grey_input(spec: ExportSpec) -> ExportSpec:
    """The same export with a first input of (B, 1, H, W); its metadata says so."""
    rule = {**spec.metadata.get('preprocessing', {}), 'channels': 1}
    grey = replace(spec, metadata={**spec.metadata, 'preprocessing': rule})
    if spec.inputs_of is not None:  # another file of the model takes the images
        return replace(grey, inputs_of=lambda images: spec.inputs_of(torch.cat([images] * 3, dim=1)))
    images, *others = spec.example_inputs
    return replace(grey, module=GreyInput(spec.module).eval(), example_inputs=(images[:, :1], *others))
