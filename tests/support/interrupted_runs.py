"""Runs that break off in the middle, and ports for runs of several processes."""
import contextlib
import random
import socket

from mmengine.hooks import Hook

from maskforge.registry import HOOKS


class Interrupted(Exception):
    """What :class:`BreakOff` raises."""


@HOOKS.register_module(force=True)
class BreakOff(Hook):
    """Ends the run after an iteration, as a power cut would."""

    priority = 100

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise Interrupted


def free_port() -> int:
    """A port that nothing listens on."""
    for port in random.sample(range(29700, 29741), 41):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(('127.0.0.1', port))
            return port
    raise RuntimeError('the ports 29700 to 29740 are all in use')
