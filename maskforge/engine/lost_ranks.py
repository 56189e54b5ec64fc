"""Who is lost and who is stuck, judged from the processes' heartbeats."""
from collections.abc import Mapping

from .heartbeats import Beat

#: the phase between two training steps
LOADING = 'loading of data'


def find_lost(beats: Mapping[int, Beat], silence: Mapping[int, float], *, limit: float, long_limit: float
              ) -> str | None:
    """The message about ranks without a sign of life, None if there are none.

    Args:
        silence: seconds since the last new beat of each rank.
        limit, long_limit: seconds that are allowed, in short and in long phases.
    """
    lost = [rank for rank, beat in beats.items()
            if beat.phase and silence[rank] > (long_limit if beat.is_long else limit)]
    return '; '.join(f'rank {rank} on host {beats[rank].host} has died or is frozen (no sign of life for '
                     f'{silence[rank]:.0f} s); the last that was seen of it is {beats[rank].describe()}'
                     for rank in lost) or None


def find_stuck(beats: Mapping[int, Beat], *, timeout: float, long_timeout: float) -> str | None:
    """The message about ranks that stand still and do not merely wait for others, None if all move.

    Of several ranks that stand, those that are not in a collective hold up the rest. If all of them are, they wait for
    one that still moves, however slowly. Of those that are left, the ones that are furthest behind are named.
    """
    active = {rank: beat for rank, beat in beats.items() if beat.phase}
    limit = long_timeout if any(beat.is_long for beat in active.values()) else timeout
    if not any(beat.still > limit for beat in active.values()):
        return None
    standing = {rank: beat for rank, beat in active.items() if beat.still > 0.8 * limit}
    guilty = {rank: beat for rank, beat in standing.items() if not beat.waits}
    if not guilty and len(standing) < len(active):
        return None
    guilty = guilty or standing
    last = min(map(_progress, guilty.values()))
    return '; '.join(f'rank {rank} on host {beat.host} has not moved since {beat.describe()} for {beat.still:.0f} s'
                     for rank, beat in guilty.items() if _progress(beat) == last)


def _progress(beat: Beat) -> tuple[int, bool]:
    return beat.iteration, beat.phase != LOADING
