"""The ``lr_config`` dict of MMDetection 2.x as a list of today's schedulers."""
from typing import Any

from .finding import did_you_mean

_COMMON = {'policy', 'warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch', 'by_epoch', '_delete_'}
_POLICIES = {'step': {'step', 'gamma', 'min_lr'}, 'fixed': set(), 'exp': {'gamma'},
             'poly': {'power', 'min_lr'}, 'cosineannealing': {'min_lr', 'min_lr_ratio'}}


def param_schedulers(old: dict[str, Any], *, length: int | None, by_epoch: bool) -> list[dict[str, Any]]:
    """Translate one ``lr_config``.

    Args:
        old: the 2.x dict, for example ``dict(policy='step', warmup='linear', warmup_iters=500, step=[8, 11])``.
        length: epochs or iterations of the whole training, where the config says.
        by_epoch: whether ``length`` counts epochs.

    Raises:
        ValueError: a policy or argument without an equivalent.
    """
    policy = str(old.get('policy', '')).lower().removesuffix('lrupdaterhook')
    policy = 'cosineannealing' if policy in ('cosine', 'cosineannealing') else policy
    if policy not in _POLICIES:
        raise ValueError(f'lr_config.policy={old.get("policy")!r} has no equivalent (known: step, CosineAnnealing, '
                         'poly, exp, fixed); a single value of the schedule is set by its place, for example '
                         'param_scheduler.1.milestones=[8,11]')
    unknown = set(old) - _COMMON - _POLICIES[policy]
    if unknown:
        name = min(unknown)
        raise ValueError(f"lr_config.{name} has no equivalent for policy '{old['policy']}'"
                         f'{did_you_mean(name, _COMMON | _POLICIES[policy])}')
    by_epoch = old.get('by_epoch', by_epoch)
    warmup = _warmup(old, by_epoch)
    main = _main(policy, old, length)
    if main is None:
        return warmup
    return [*warmup, {**main, 'by_epoch': by_epoch, 'begin': 0, **({'end': length} if length else {})}]


def _warmup(old: dict, by_epoch: bool) -> list[dict]:
    kind = old.get('warmup')
    if kind is None:
        return []
    if kind not in ('linear', 'constant'):
        raise ValueError(f"lr_config.warmup='{kind}' has no equivalent; use linear or constant")
    name = 'LinearLR' if kind == 'linear' else 'ConstantLR'
    factor = {'start_factor' if kind == 'linear' else 'factor': old.get('warmup_ratio', 0.1)}
    return [dict(type=name, **factor, by_epoch=old.get('warmup_by_epoch', False), begin=0,
                 end=old.get('warmup_iters', 0))]


def _main(policy: str, old: dict, length: int | None) -> dict | None:
    if policy == 'step':
        step, gamma = old.get('step', 1), old.get('gamma', 0.1)
        if isinstance(step, int):
            return dict(type='StepLR', step_size=step, gamma=gamma)
        return dict(type='MultiStepLR', milestones=list(step), gamma=gamma)
    if policy == 'cosineannealing':
        relative = 'min_lr_ratio' in old
        floor = dict(eta_min_ratio=old['min_lr_ratio']) if relative else dict(eta_min=old.get('min_lr', 0.))
        return dict(type='CosineAnnealingLR', **floor, **({'T_max': length} if length else {}))
    if policy == 'poly':
        return dict(type='PolyLR', power=old.get('power', 1.), eta_min=old.get('min_lr', 0.))
    return dict(type='ExponentialLR', gamma=old['gamma']) if policy == 'exp' else None
