"""The teacher: a copy of the student that follows it as a moving average (Tarvainen and Valpola 2017)."""
import copy

import torch
from torch import distributed, nn

from maskforge.models.mal.network import MALNetwork
from maskforge.ops.local_part import local_part


class Teacher(MALNetwork):
    """A frozen copy of a network: no gradients, always in evaluation mode.

    Args:
        student: what is copied, buffers included.
    """

    def __init__(self, student: MALNetwork) -> None:
        parts = {name: copy.deepcopy(getattr(student, name)) for name in ('backbone', 'roi_head', 'mask_head')}
        super().__init__(**parts, size_bins=student.size_bins, adjust_scale=student.adjust_scale)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'Teacher':
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def copy_from(self, student: MALNetwork) -> None:
        """Take over the student's parameters and buffers."""
        self.follow(student, momentum=0.0)

    @torch.no_grad()
    def follow(self, student: MALNetwork, *, momentum: float | int) -> None:
        """Move the parameters: own <- momentum * own + (1 - momentum) * student; copy the buffers.

        Works on the local shards where the tensors are sharded: both networks must be sharded alike.
        """
        for network in (self, student):
            _reshard(network)
        own, theirs = ([local_part(p) for p in network.parameters()] for network in (self, student))
        if momentum == 0:
            torch._foreach_copy_(own, theirs)
        else:
            torch._foreach_lerp_(own, theirs, 1 - float(momentum))
        own, theirs = ([local_part(b) for b in network.buffers()] for network in (self, student))
        if own:
            torch._foreach_copy_(own, theirs)


def _reshard(network: nn.Module) -> None:
    """Give whole tensors back that FSDP keeps after a forward pass: the teacher has no backward pass that would."""
    if not distributed.is_initialized():
        return
    from torch.distributed.fsdp import FSDPModule  # half a second that single processes need not wait
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
