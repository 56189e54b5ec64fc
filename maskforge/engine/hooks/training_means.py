"""Means of training losses over all iterations and processes, which a resumed run takes up where they were."""
import math
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.logging import MessageHub
from torch import Tensor

#: where checkpoints (and records of validations) hold the sums
KEY = 'training_sums'


class TrainingMeans:
    """Sums of losses and their counts; they stay on the device until somebody asks.

    :meth:`take` and :meth:`store` exchange them between the processes: all ranks must call these.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float | Tensor, float]] | None = None

    def add(self, hub: MessageHub, outputs: dict[str, Any]) -> None:
        """Add what one training step returned; entries without ``loss`` in their name are not counted."""
        sums = self._own(hub)
        for name, value in outputs.items():
            if 'loss' in name:
                total, count = sums.get(name, (0., 0))
                value = value.detach().double() if isinstance(value, Tensor) else float(value)
                sums[name] = total + value, count + 1

    def take(self, hub: MessageHub) -> dict[str, float]:
        """Return the means as ``train_<name>`` and begin anew."""
        means = {f'train_{name}': total / count for name, (total, count) in self._shared(hub).items()}
        self._sums = {}
        hub.update_info(KEY, {})
        return means

    def store(self, hub: MessageHub) -> None:
        """Leave the sums in the hub; each rank goes on with an equal part, as it would after a resume."""
        self._sums = dict(self._shared(hub))
        hub.update_info(KEY, {name: list(pair) for name, pair in self._sums.items()})

    def _own(self, hub: MessageHub) -> dict[str, tuple[float | Tensor, float]]:
        if self._sums is None:  # not earlier: hooks that restore states run after this one's `before_train`
            stored = hub.get_info(KEY, None) or {}
            self._sums = {name: (float(total), float(count)) for name, (total, count) in stored.items()}
        return self._sums

    def _shared(self, hub: MessageHub) -> dict[str, tuple[float, float]]:
        """Means over the ranks of sums and of counts."""
        parts = all_gather_object({name: (float(total), count) for name, (total, count) in self._own(hub).items()})
        names = sorted({name for part in parts for name in part})
        columns = {name: zip(*(part[name] for part in parts if name in part)) for name in names}
        return {name: tuple(math.fsum(column) / len(parts) for column in pair) for name, pair in columns.items()}
