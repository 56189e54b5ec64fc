"""The decorator of methods that draw a transform's random numbers."""
import copy
import functools
from collections.abc import Callable
from typing import Any

from mmcv.transforms.utils import cache_randomness


class shared_draw(cache_randomness):
    """mmcv's ``cache_randomness`` for classes that override such a method of mmcv's.

    mmcv's ``TransformBroadcaster(share_random_params=True)`` makes a decorated method draw once for several images.
    Its own decorator lists an overridden method twice, which breaks that, and refuses functions whose signature is
    wrapped, as type-checked ones are.
    """

    def __init__(self, func: Callable):
        functools.update_wrapper(self, func)
        self.func = func

    def __set_name__(self, owner: type, name: str) -> None:
        inherited = getattr(owner, '_methods_with_randomness', [])
        owner._methods_with_randomness = [*(known for known in inherited if known != name), name]

    def __get__(self, instance: Any, owner: type) -> 'shared_draw':
        bound = copy.copy(self)
        bound.instance_ref = lambda: instance
        return bound
