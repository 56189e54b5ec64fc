"""Continuing a run: everything of a checkpoint but its weights goes back to its place."""
from collections.abc import Mapping
from typing import Any

from .data_loading import reseed
from .training_state import restore_message_hub


def resume_run(runner, checkpoint: Mapping[str, Any], filename: str, *, optimizer: bool, schedulers: bool
               ) -> list[dict] | None:
    """Give a runner, whose model has the weights already, the counters, optimizer, schedules and logs of a checkpoint.

    Args:
        optimizer, schedulers: whether to restore these.

    Returns:
        The random states, to be put in place right before the first step; None where the file has none.

    Raises:
        ValueError: the checkpoint holds weights only.
    """
    meta = checkpoint.get('meta') or {}
    if 'iter' not in meta or 'optimizer' not in checkpoint:
        raise ValueError(f'{filename} holds weights, but not the state of a run to continue: use --load-from '
                         f'(load_from=..., resume=False) to start from its weights.')
    _compare(runner, meta)
    _take_seed(runner, meta.get('seed'))
    loop = runner.train_loop
    if hasattr(loop, 'take_position'):
        loop.take_position(meta)
    else:  # a user's loop on MMEngine's
        loop._epoch, loop._iter = meta['epoch'], meta['iter']
    restore_message_hub(runner.message_hub, checkpoint.get('message_hub') or {})
    if optimizer:
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.optim_wrapper.load_state_dict(checkpoint['optimizer'])
    if schedulers and runner.param_schedulers is not None:
        _resume_schedulers(runner, checkpoint.get('param_schedulers') or [])
    if not checkpoint.get('random_state'):
        runner.logger.warning(f'{filename} has no random states (MMEngine stores none): the run continues, but not '
                              f'exactly as it would have')
    return checkpoint.get('random_state')


def _resume_schedulers(runner, states: Any) -> None:
    runner.param_schedulers = built = runner.build_param_scheduler(runner.param_schedulers)
    pairs = [(built[name], states.get(name, [])) for name in built] if isinstance(built, dict) else [(built, states)]
    for schedulers, stored in pairs:
        if len(schedulers) != len(stored):
            runner.logger.warning(f'the config has {len(schedulers)} schedules, the checkpoint {len(stored)}')
        for scheduler, state in zip(schedulers, stored):
            scheduler.load_state_dict(state)


def _take_seed(runner, seed: int | None) -> None:
    if seed is None or seed == runner.seed:
        return
    settings = runner._randomness_cfg
    if settings.get('seed') is not None:
        runner.logger.warning(f'randomness.seed={runner.seed} is not followed: the run continues with its seed {seed}')
    settings.update(seed=seed)
    runner.set_randomness(**settings)
    reseed(runner.train_dataloader, seed)


def _compare(runner, meta: Mapping[str, Any]) -> None:
    """Warn of what keeps the continuation from being exact."""
    for key, now, name, effect in (
            ('world_size', runner.world_size, 'processes',
             'the records that follow are dealt anew, and processes that were not there draw other random numbers'),
            ('batch_over_all_ranks', runner.batch_over_all_ranks, 'samples per iteration',
             'epochs have another number of iterations, and the learning rate is scaled only by auto_scale_lr')):
        before = meta.get(key)
        if before is not None and before != now:
            runner.logger.warning(f'{before} {name} when the checkpoint was written, {now} now: the run continues '
                                  f'behind the records that it has seen, but not exactly as it would have: {effect}')
    classes = (meta.get('dataset_meta') or {}).get('classes')
    now = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None and now is not None and list(classes) != list(now):
        runner.logger.warning(f'the checkpoint was trained on the classes {list(classes)[:8]}, the data set has '
                              f'{list(now)[:8]}')
