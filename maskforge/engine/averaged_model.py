"""Moving averages of weights, moved by one operation for all tensors rather than by one for each."""
from collections.abc import Iterable

import torch
from mmengine.model import ExponentialMovingAverage as _ExponentialMovingAverage
from mmengine.model import MomentumAnnealingEMA as _MomentumAnnealingEMA
from torch import Tensor, nn

from maskforge.ops.local_part import local_part
from maskforge.registry import MODELS


class _Together:
    """The same numbers as MMEngine's, whose hundreds of small operations a GPU feels in every step."""

    @property
    def rate(self) -> float:
        """How far the average moves towards the weights."""
        return self.momentum

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the averages; the first call copies. Buffers are copied, or averaged with ``update_buffers``."""
        source = model.state_dict() if self.update_buffers else dict(model.named_parameters())
        pairs = [(own, source[name]) for name, own in self.avg_parameters.items()]
        if self.steps == 0:
            torch._foreach_copy_(*_local(pairs))
        elif self.steps % self.interval == 0:
            own, theirs = _local(pair for pair in pairs if pair[0].is_floating_point())
            torch._foreach_lerp_(own, theirs, self.rate)
        buffers = [] if self.update_buffers else list(zip(self.module.buffers(), model.buffers()))
        if buffers:
            torch._foreach_copy_(*_local(buffers))
        self.steps += 1


def _local(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """What this process holds of averages and weights; the weights where the averages are."""
    parts = [(local_part(own.data), local_part(other.data)) for own, other in pairs]
    return [own for own, _ in parts], [other.to(own.device) for own, other in parts]


@MODELS.register_module()
class ExponentialMovingAverage(_Together, _ExponentialMovingAverage):
    """MMEngine's average; arguments and numbers are its own."""


@MODELS.register_module()
class MomentumAnnealingEMA(_Together, _MomentumAnnealingEMA):
    """MMEngine's average that moves further in the beginning; arguments and numbers are its own."""

    @property
    def rate(self) -> float:
        """``gamma / (gamma + steps)``, at least the momentum."""
        return max(self.momentum, self.gamma / (self.gamma + self.steps.item()))
