"""The chain of transforms of a clip, with its geometric ones done in one warp."""
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from .clip_geometry import ClipGeometry, FusedGeometry
from .compose import Compose, build_transform


def build_clip_pipeline(transforms: Sequence[dict | Callable]) -> Compose:
    """Build the transforms; geometric ones that follow one another sample frames and masks only once.

    What is drawn does not change by that. Pixels differ a little from those of a chain that samples twice (they are
    less blurred), and an affine map of large frames into a small size costs a fraction of it.

    Raises:
        ValueError: there are none.
    """
    built = [build_transform(item) for item in transforms]
    if not built:
        raise ValueError("the pipeline of clips is empty; it ends with dict(type='PackClip').")
    chain: list[Any] = []
    for geometric, group in groupby(built, lambda item: isinstance(item, ClipGeometry)):
        members = list(group)
        chain += [FusedGeometry(members)] if geometric and len(members) > 1 else members
    return Compose(chain)
