"""How many training records could not be read: told at the end of every epoch, the same on all processes."""
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from maskforge.registry import HOOKS


@HOOKS.register_module()
class BrokenRecordsHook(Hook):
    """Counts the records that the training data set could not read, over all processes and workers.

    Every process names and counts what its own workers meet; the log is written by rank 0. Here they tell each other:
    rank 0 names what the others met, all know all, and the data set's ``fault_cfg.max_broken`` holds for the sum.
    Data sets without ``record_faults()`` are left alone.

    Args:
        interval: iterations between two counts in a training that counts iterations; otherwise it is done after each
            epoch.
    """

    def __init__(self, interval: int = 1000) -> None:
        if interval < 1:
            raise ValueError(f'BrokenRecordsHook: interval must be at least 1, got {interval}.')
        self.interval = interval

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Count where there are no epochs."""
        if isinstance(runner.train_loop, IterBasedTrainLoop) and self.every_n_train_iters(runner, self.interval):
            self._count(runner)

    def after_train_epoch(self, runner) -> None:
        """Count."""
        self._count(runner)

    def _count(self, runner) -> None:
        ask = getattr(runner.train_dataloader.dataset, 'record_faults', None)
        faults = list({id(one): one for one in ask()}.values()) if ask is not None else []
        everyone = all_gather_object([(one.broken(), one.retried()) for one in faults])
        for place, one in enumerate(faults):
            known = set(one.broken())
            broken = {index for part in everyone for index in part[place][0]}
            retried = {index for part in everyone for index in part[place][1]} - broken
            for index in sorted(broken - known):
                if is_main_process():
                    runner.logger.warning(f'{one.name_of(index)} is skipped (another process could not read it)')
            one.add_broken(broken)
            _tell(runner, one, len(broken), len(retried))
            one.check_limit()


def _tell(runner, faults: Any, broken: int, retried: int) -> None:
    if broken or retried:
        again = f'{retried} {faults.noun} had to be read more than once'
        runner.logger.log(30 if broken else 20, f'{faults.source}: {broken} of {len(faults.flags)} {faults.noun} could '
                                                f'not be used so far, others took their place; {again}')
