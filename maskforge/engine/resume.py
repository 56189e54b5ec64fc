"""Continuing a run: everything of a checkpoint but its weights goes back to its place."""
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Number
from typing import Any

from torch import Tensor

from .data_loading import reseed
from .random_state import capture_random_state, private_randomness, restore_random_state
from .structure_check import REMEDY, check_structure
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
    _check(checkpoint, str(filename))
    if 'iter' not in meta or 'optimizer' not in checkpoint:
        raise ValueError(f'{filename} holds weights, but not the state of a run to continue: use --load-from '
                         f'(load_from=..., resume=False) to start from its weights.')
    _compare(runner, meta)
    with named_part(filename, 'meta.seed'):
        _take_seed(runner, meta.get('seed'))
    loop = runner.train_loop
    if hasattr(loop, 'take_position'):
        loop.take_position(meta)
    else:  # a user's loop on MMEngine's
        loop._epoch, loop._iter = meta['epoch'], meta['iter']
    with named_part(filename, 'message_hub'):
        restore_message_hub(runner.message_hub, checkpoint.get('message_hub') or {})
    if optimizer:
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        _check_optimizer(checkpoint['optimizer'], runner.optim_wrapper, f'{filename}: optimizer')
        with named_part(filename, 'optimizer'):
            runner.optim_wrapper.load_state_dict(checkpoint['optimizer'])
    if schedulers and runner.param_schedulers is not None:
        with named_part(filename, 'param_schedulers'):
            _resume_schedulers(runner, checkpoint.get('param_schedulers') or [])
    if not checkpoint.get('random_state'):
        runner.logger.warning(f'{filename} has no random states (MMEngine stores none): the run continues, but not '
                              f'exactly as it would have')
    return checkpoint.get('random_state')


def _check(checkpoint: Mapping[str, Any], filename: str) -> None:
    """Refuse values of other kinds than a run stores, before anything is restored."""
    counters = dict(epoch=0, iter=0, seed=0, world_size=1, batch_over_all_ranks=1,
                    position=dict(validation_pending=False, iters_per_epoch=1, passes=0, batch=0))
    meta = checkpoint.get('meta') or {}
    check_structure(meta, counters, where=f'{filename}: meta')
    if 'iter' in meta and 'optimizer' in checkpoint:
        check_structure(meta, dict(epoch=0), where=f'{filename}: meta', optional=False)
    states = checkpoint.get('random_state')
    if states is not None:
        own = capture_random_state()
        own.pop('cuda', None)
        check_structure(states, [own] * max(len(states), 1) if isinstance(states, list) else [],
                        where=f'{filename}: random_state', optional=False)
        with named_part(filename, 'random_state'), private_randomness():
            for state in states:
                restore_random_state(state)


def _check_optimizer(state: Any, wrapper: Any, where: str) -> None:
    """Refuse an optimizer's state that would fail in the middle of a step; settings that it lacks become our own."""
    check_structure(state, {}, where=where)
    if 'param_groups' not in state or not hasattr(wrapper, 'optimizer'):
        return  # several optimizers by name
    groups = wrapper.optimizer.param_groups
    check_structure(state['param_groups'], [], where=f'{where}.param_groups')
    for number, group in enumerate(state['param_groups']):
        place = f'{where}.param_groups.{number}'
        check_structure(group, dict(params=[], lr=0.), where=place, optional=False)
        own = groups[number] if number < len(groups) else {}
        own = {key: value for key, value in own.items() if key not in ('params', 'param_names')}
        check_structure(group, own, where=place)
        for key, value in own.items():  # an older PyTorch had fewer settings
            group.setdefault(key, value)
    first: dict[str, Any] = {}
    check_structure(state.get('state'), {}, where=f'{where}.state')
    for index, entry in state['state'].items():
        check_structure(entry, {}, where=f'{where}.state.{index}')
        for key, value in entry.items():  # what one parameter has, all have
            if not isinstance(value, (Tensor, Number, type(None))):
                raise ValueError(f'{where}.state.{index}.{key} is {value!r:.60}, but a tensor belongs there. {REMEDY}')
            if value is not None:
                check_structure(value, first.setdefault(key, value), where=f'{where}.state.{index}.{key}')


@contextmanager
def named_part(filename: str, part: str) -> Iterator[None]:
    """Tell whatever cannot be restored inside the block with the file and the part of it, as a ``ValueError``."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RuntimeError, ValueError) as error:
        text = f'lacks {error}' if isinstance(error, KeyError) else str(error)
        if str(filename) in text:
            raise
        remedy = '' if isinstance(error, ValueError) and text.endswith('.') else f' {REMEDY}'
        raise ValueError(f'{filename}: {part}: {text}{remedy}') from error


def _resume_schedulers(runner, states: Any) -> None:
    runner.param_schedulers = built = runner.build_param_scheduler(runner.param_schedulers)
    pairs = [(built[name], states.get(name, [])) for name in built] if isinstance(built, dict) else [(built, states)]
    for schedulers, stored in pairs:
        if len(schedulers) != len(stored):
            runner.logger.warning(f'the config has {len(schedulers)} schedules, the checkpoint {len(stored)}')
        for number, (scheduler, state) in enumerate(zip(schedulers, stored)):
            check_structure(state, scheduler.state_dict(), where=f'schedule {number}')
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
