"""What the processes of a run tell each other beside training: signs of life, signals, the reason to end."""
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore


@dataclass(kw_only=True)
class Beat:
    """A process's sign of life.

    Attributes:
        host: name of its machine.
        number: grows by one from beat to beat.
        phase: what it does, in words; '' outside the loops, where nothing is watched.
        iteration: training iterations that it has completed.
        is_long: the phase may take long (start, metrics, writing a checkpoint).
        still: seconds for which it has not moved.
        where: place in the code, told when it stands still.
        waits: it stands in a collective, waiting for others.
    """

    host: str
    number: int = 0
    phase: str = ''
    iteration: int = 0
    is_long: bool = False
    still: float = 0.
    where: str = ''
    waits: bool = False

    def describe(self) -> str:
        """Iteration, phase and place for a message."""
        return f'iteration {self.iteration} ({self.phase}{", in " + self.where if self.where else ""})'


@dataclass
class HeartbeatBoard:
    """The store of the process group over a connection of its own, so that no collective is in its way.

    Args:
        rank: of this process.
        patience: seconds after which an answer is given up.

    Raises:
        RuntimeError: the store cannot be reached; also by every method.
    """

    rank: int
    patience: float
    _store: PrefixStore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        store = TCPStore(os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']), is_master=False,
                         wait_for_workers=False, timeout=timedelta(seconds=max(self.patience, 1)))
        # after an elastic restart the words of the attempt before must not be heard
        self._store = PrefixStore(f'maskforge/{os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")}', store)

    def publish(self, beat: Beat) -> None:
        """Put up this process's beat."""
        self._store.set(f'beat/{self.rank}', json.dumps(asdict(beat)))

    def read(self, ranks: Iterable[int]) -> dict[int, Beat]:
        """The newest beats of those ranks that have begun."""
        known = [rank for rank in ranks if self._store.check([f'beat/{rank}'])]
        texts = self._store.multi_get([f'beat/{rank}' for rank in known]) if known else []
        return {rank: Beat(**json.loads(text)) for rank, text in zip(known, texts)}

    def say(self, key: str, text: str) -> str:
        """Put up a word for all, unless one is there already; returns the one that counts."""
        return self._store.compare_set(key, '', text).decode()

    def heard(self, key: str) -> str | None:
        """The word that somebody put up, None while there is none. Never waits."""
        return self._store.get(key).decode() if self._store.check([key]) else None
