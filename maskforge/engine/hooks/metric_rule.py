"""When is a metric better than before?"""
import math
from collections.abc import Sequence

GREATER_KEYS = ('acc', 'top', 'AR@', 'auc', 'precision', 'recall', 'mAP', 'AP', 'AR', 'mDice', 'mIoU', 'mAcc', 'aAcc',
                'PQ', 'J&F', 'f1')
LESS_KEYS = ('loss', 'error')


class MetricRule:
    """Compares values of one metric.

    Args:
        key: name of the metric; decides the direction where ``rule`` is None.
        rule: ``'greater'`` or ``'less'`` is better.
        greater_keys, less_keys: names, or parts of names, of metrics with that direction.

    Raises:
        ValueError: an unknown rule, or a name that tells no direction.
    """

    def __init__(self, key: str, rule: str | None = None, *, greater_keys: Sequence[str] = GREATER_KEYS,
                 less_keys: Sequence[str] = LESS_KEYS):
        self.key = key
        self.rule = rule or self._infer(key, greater_keys, less_keys)
        if self.rule not in ('greater', 'less'):
            raise ValueError(f"rule for {key!r} must be 'greater' or 'less', got {self.rule!r}.")
        self.worst = -math.inf if self.rule == 'greater' else math.inf

    @staticmethod
    def _infer(key: str, greater_keys: Sequence[str], less_keys: Sequence[str]) -> str:
        low = key.lower()
        greater, less = [k.lower() for k in greater_keys], [k.lower() for k in less_keys]
        if low in greater:
            return 'greater'
        if low in less or any(part in low for part in less):
            return 'less'
        if any(part in low for part in greater):
            return 'greater'
        raise ValueError(f"whether a greater or a lesser {key!r} is better cannot be told from its name: "
                         f"set rule='greater' or rule='less'.")

    def is_better(self, value: float, than: float) -> bool:
        """Strictly better; NaN never is."""
        return value > than if self.rule == 'greater' else value < than


def metric_value(metrics: dict, key: str, asked_by: str) -> float:
    """The metric as a number.

    Raises:
        KeyError: not there; the message lists what is.
    """
    if key not in metrics:
        raise KeyError(f'{asked_by} wants the metric {key!r}, which the validation did not give. '
                       f'It gave: {", ".join(sorted(metrics)) or "nothing"}.')
    return float(metrics[key])
