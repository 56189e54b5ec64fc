"""A request from outside (a signal) to stop training at the next safe place."""
import torch
from mmengine.dist import all_reduce, get_world_size


class Interruption:
    """Set by a signal handler, asked by the loops.

    Attributes:
        signum: number of the signal that arrived in this process; 0 for none.
    """

    def __init__(self) -> None:
        self.signum = 0

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop; other processes may not know yet."""
        return self.signum != 0

    def agree(self) -> int:
        """The signal that any process got, 0 for none; all ranks must call this."""
        if get_world_size() == 1:
            return self.signum
        signum = torch.tensor(self.signum)
        all_reduce(signum, 'max')
        return int(signum)
