"""How several processes share a training: DDP, DDP with sharded optimizer state, FSDP2."""
from .build_strategy import build_strategy
from .ddp_strategy import DDPStrategy
from .fsdp2_strategy import FSDP2Strategy
from .sharded_ddp_strategy import ShardedDDPStrategy
from .sharded_optimizer import ShardedOptimizer
from .strategy import Strategy

__all__ = ['DDPStrategy', 'FSDP2Strategy', 'ShardedDDPStrategy', 'ShardedOptimizer', 'Strategy', 'build_strategy']
