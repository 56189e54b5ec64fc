"""The best value of each watched metric, and the checkpoint that reached it."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import MessageHub

from .metric_rule import MetricRule, metric_value


class BestCheckpoints:
    """Book-keeping for ``CheckpointHook(save_best=...)``; the state lives in the message hub, under MMEngine's keys.

    Args:
        keys: metric, metrics, ``'auto'`` or None.
        rules: one for all, one for each, or None.
        **names: see :class:`MetricRule`.

    Raises:
        ValueError: duplicate keys, ``'auto'`` beside others, another number of rules than of metrics.
    """

    def __init__(self, keys: str | Sequence[str] | None, rules: str | Sequence[str] | None, **names: Any):
        self.keys = [keys] if isinstance(keys, str) else list(keys or [])
        if len(set(self.keys)) != len(self.keys) or ('auto' in self.keys and len(self.keys) > 1):
            raise ValueError(f"CheckpointHook: save_best must be 'auto' or different metrics, got {keys}.")
        rules = list(rules) if isinstance(rules, (list, tuple)) else [rules]
        if len(rules) not in (1, len(self.keys)):
            raise ValueError(f'CheckpointHook: {len(rules)} rules for {len(self.keys)} metrics of save_best; give one '
                             'for all or one for each.')
        self._names = names
        self._given = rules * len(self.keys) if len(rules) == 1 else rules
        self._rules = {key: MetricRule(key, rule, **names)
                       for key, rule in zip(self.keys, self._given) if key != 'auto'}
        self._scores: dict[str, float] = {}
        self._paths: dict[str, Path] = {}

    def _suffix(self, key: str) -> str:
        return '' if len(self.keys) == 1 else f'_{key}'

    def restore(self, hub: MessageHub, folder: Path) -> None:
        """Read the scores of a resumed run; the files are looked for by name, so that the folder may have moved."""
        if self.keys == ['auto'] and hub.get_info('best_key') is not None:
            self._resolve_auto(hub.get_info('best_key'))
        for key in self._rules:
            score = hub.get_info(f'best_score{self._suffix(key)}')
            path = hub.get_info(f'best_ckpt{self._suffix(key)}')
            if score is not None:
                self._scores[key] = float(score)
            # a kill after the old best was removed and before that was noted leaves a name without a file
            if path is not None and (folder / Path(path).name).exists():
                self._paths[key] = folder / Path(path).name

    def _resolve_auto(self, key: str) -> None:
        self.keys = [key]
        self._rules = {key: MetricRule(key, self._given[0], **self._names)}

    def update(self, hub: MessageHub, metrics: dict[str, float]) -> list[str]:
        """Take the metrics of a validation; return the keys that improved."""
        if self.keys == ['auto']:
            self._resolve_auto(next(iter(metrics)))
            hub.update_info('best_key', self.keys[0])
        improved = []
        for key, rule in self._rules.items():
            value = metric_value(metrics, key, 'CheckpointHook.save_best')
            if rule.is_better(value, self._scores.get(key, rule.worst)):
                self._scores[key] = value
                hub.update_info(f'best_score{self._suffix(key)}', value)
                improved.append(key)
        return improved

    def score(self, key: str) -> float:
        """Best value so far."""
        return self._scores[key]

    def move(self, hub: MessageHub, key: str, path: Path) -> Path | None:
        """Note the new best checkpoint of a metric; return the one before."""
        old = self._paths.get(key)
        self._paths[key] = path
        hub.update_info(f'best_ckpt{self._suffix(key)}', str(path))
        return old

    def paths(self) -> list[str]:
        """The best checkpoints, one per metric."""
        return [str(path) for path in self._paths.values()]
