"""The strategy that a config names."""
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from maskforge.registry import STRATEGIES

from .strategy import Strategy

NAMES = {'ddp': 'DDPStrategy', 'fsdp': 'FSDP2Strategy', 'fsdp2': 'FSDP2Strategy', 'ddp_sharded': 'ShardedDDPStrategy'}
SHORT = ('ddp', 'fsdp', 'ddp_sharded')


def build_strategy(config: str | Mapping[str, Any] | Strategy | None, **defaults: Any) -> Strategy:
    """Build ``strategy`` of a config.

    Args:
        config: 'ddp' (as None), 'fsdp', 'ddp_sharded'; or a dict with ``type`` (one of these, or a class of
            STRATEGIES) and the options of the class.
        defaults: options that hold where ``config`` does not set them and the class has them.

    Raises:
        ValueError: another strategy, or an option that its class does not have; near names are listed.
    """
    if isinstance(config, Strategy):
        return config
    if config is None or isinstance(config, str):
        config = dict(type=config or 'ddp')
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(f"strategy must be one of {', '.join(map(repr, SHORT))} or dict(type='FSDP2Strategy', ...), "
                         f'got {config!r}.')
    options = {key: value for key, value in config.items() if key != 'type'}
    cls = _find(config['type'])
    known = list(inspect.signature(cls).parameters)
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            raise ValueError(f'strategy.{option}: {cls.__name__} has no such option'
                             + (f'; did you mean {near[0]}?' if near else f'; it has {", ".join(known)}.'))
    return cls(**{**{key: value for key, value in defaults.items() if key in known}, **options})


def _find(kind: Any) -> type[Strategy]:
    cls = kind
    if isinstance(kind, str):
        try:
            cls = STRATEGIES.get(NAMES.get(kind, kind))
        except KeyError:
            allowed = [*SHORT, *dict.fromkeys(NAMES.values())]
            near = difflib.get_close_matches(kind, allowed, n=1)
            raise ValueError(f"strategy='{kind}' is unknown; " + (f'did you mean {near[0]}? ' if near else '')
                             + f'It may be {", ".join(allowed)}.') from None
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        raise ValueError(f"strategy='{kind}' is a class of MMEngine's FlexibleRunner, which is not used here; it may "
                         f'be {", ".join(SHORT)}.')
    return cls
