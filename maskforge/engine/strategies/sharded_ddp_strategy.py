"""Every process has the whole model and a share of the optimizer's state."""
from typing import Any

from mmengine import dist

from maskforge.engine.optim.inner_wrappers import inner_wrappers
from maskforge.registry import STRATEGIES

from .ddp_strategy import DDPStrategy
from .sharded_optimizer import ShardedOptimizer


@STRATEGIES.register_module()
class ShardedDDPStrategy(DDPStrategy):
    """DistributedDataParallel whose optimizer state is dealt out to the processes (ZeRO, stage 1).

    With N processes each keeps 1/N of the momenta and variances, updates its share of the weights and sends it to the
    others. Steps are those of :class:`DDPStrategy`, whose options it takes; checkpoints are the same files.
    """

    @property
    def gathers(self) -> bool:
        """Each process has a part of the optimizer's state."""
        return dist.get_world_size() > 1

    def adopt_optimizer(self, optim_wrapper: Any) -> None:
        """Deal the optimizer's parameters out to the processes."""
        if not self.gathers:
            return
        for wrapper in inner_wrappers(optim_wrapper):
            if not isinstance(wrapper.optimizer, ShardedOptimizer):
                wrapper.optimizer = ShardedOptimizer(wrapper.optimizer)
