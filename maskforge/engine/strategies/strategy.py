"""What the runner asks of the way in which several processes share a training."""
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from maskforge.engine.model_preparation import to_device


class Strategy:
    """Base of the strategies; by itself it trains in every process alone.

    The runner asks in this order: :meth:`wrap` when the model is built, :meth:`prepare` before a training,
    :meth:`adopt_optimizer`; then :meth:`gather` for every checkpoint and :meth:`evaluation` around every evaluation.

    Attributes:
        gathers: every process takes part in collecting a checkpoint, not the main one alone.
        checkpoint_suffix: what names of checkpoints end in; empty for folders.
    """

    gathers = False
    checkpoint_suffix = '.pth'

    def wrap(self, model: nn.Module, wrapper_cfg: dict | None, *, distributed: bool) -> nn.Module:
        """Return the model, moved to its device and wrapped for several processes.

        Args:
            wrapper_cfg: ``model_wrapper_cfg`` of the config.
            distributed: a launcher has started this process.
        """
        return to_device(model, distributed=distributed, sync_bn=None)

    def prepare(self, runner) -> None:
        """Called before a training, before its optimizer is built."""

    def adopt_optimizer(self, optim_wrapper: Any) -> None:
        """Change the optimizer in its new wrapper to what the strategy needs."""

    def gather(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Return the checkpoint with whole tensors on the main process; all processes call this if it gathers."""
        return checkpoint

    def save_in_parts(self, checkpoint: dict[str, Any], folder: str) -> bool:
        """Let each process write what it holds; False where the main process is to write all."""
        return False

    @contextmanager
    def evaluation(self, model: nn.Module) -> Iterator[None]:
        """Within, forward passes wait for no other process: shares of the data may differ."""
        yield
