"""Timing two or more ways of doing the same thing in turns, and the table of their ratios."""
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from terminaltables import AsciiTable


def time_in_turns(sides: Mapping[str, Callable[[], object]], *, rounds: int = 5, warmup: int = 1,
                  clock: Callable[[], float] = time.perf_counter) -> dict[str, list[float]]:
    """Seconds of each side, measured in turns so that a machine that slows down slows all of them.

    Args:
        sides: name to a function of no arguments.
        rounds: measurements of each side.
        warmup: calls of each side before the clock counts.
        clock: gives seconds; ``time.process_time`` is the processors' time, whatever else runs on the machine.
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(f'rounds={rounds} must be at least 1 and warmup={warmup} at least 0.')
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warmup + rounds):
        for name, run in sides.items():
            start = clock()
            run()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return seconds


@dataclass(frozen=True)
class Comparison:
    """One row: ours against a peer.

    Attributes:
        task: what was measured.
        unit: of the two values.
        ours, peer: median values.
        peer_name: what ours was compared with.
        spread: half the range from the quarter to the three-quarter point over the median, the larger of both sides.
        higher_is_better: images per second (True) or seconds (False).
        note: what was checked before the clock started.
    """

    task: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    spread: float
    higher_is_better: bool = False
    note: str = ''

    @property
    def ratio(self) -> float:
        """How many times as fast ours is; above 1 ours is faster."""
        return self.ours / self.peer if self.higher_is_better else self.peer / self.ours


def compare_seconds(task: str, seconds: Mapping[str, Sequence[float]], *, ours: str, peer: str, note: str = '',
                    images: int | None = None) -> Comparison:
    """A row from :func:`time_in_turns`.

    Args:
        ours, peer: names of the sides.
        images: images of one call; the row is then in images per second.
    """
    mine, theirs = (statistics.median(seconds[name]) for name in (ours, peer))
    spread = max(_spread(seconds[ours]), _spread(seconds[peer]))
    if images:
        return Comparison(task, 'images/s', images / mine, images / theirs, peer, spread, True, note)
    return Comparison(task, 's', mine, theirs, peer, spread, False, note)


def compare_memory(task: str, mebibytes: Mapping[str, float], *, ours: str, peer: str, note: str = '') -> Comparison:
    """A row from the peaks of :func:`~maskforge.analysis.peak_memory.peak_memory`; above 1 ours needs less."""
    return Comparison(task, 'MiB', mebibytes[ours], mebibytes[peer], peer, 0., False, note)


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return (high - low) / 2 / statistics.median(values)


@dataclass
class RatioTable:
    """Rows of :class:`Comparison`, printed as text, Markdown or JSON."""

    title: str
    machine: str = ''
    rows: list[Comparison] = field(default_factory=list)

    HEADER = ('task', 'ours', 'peer', 'unit', 'ratio', 'spread', 'peer is', 'checked before')

    def cells(self) -> list[list[str]]:
        """The rows as text cells."""
        return [[row.task, f'{row.ours:.4g}', f'{row.peer:.4g}', row.unit, f'{row.ratio:.2f}x',
                 f'±{100 * row.spread:.0f} %', row.peer_name, row.note] for row in self.rows]

    def text(self) -> str:
        """An ASCII table; a ratio above 1 means that ours is faster."""
        table = AsciiTable([list(self.HEADER), *self.cells()], title=self.title).table
        return f'{table}\n{self.machine}' if self.machine else table

    def markdown(self) -> str:
        """A Markdown section."""
        lines = [' | '.join(cells) for cells in (self.HEADER, ['---'] * len(self.HEADER), *self.cells())]
        table = '\n'.join(f'| {line} |' for line in lines)
        return f'### {self.title}\n\n{table}\n\n{self.machine}\n'

    def write(self, *, json_file: str | Path | None = None, markdown_file: str | Path | None = None) -> None:
        """Write the rows to files as well, where asked."""
        if json_file:
            rows = [dict(asdict(row), ratio=row.ratio) for row in self.rows]
            Path(json_file).write_text(json.dumps(dict(title=self.title, machine=self.machine, rows=rows), indent=1))
        if markdown_file:
            Path(markdown_file).write_text(self.markdown())

    @classmethod
    def read(cls, json_file: str | Path) -> 'RatioTable':
        """The table that :meth:`write` wrote."""
        found = json.loads(Path(json_file).read_text())
        rows = [Comparison(**{name: value for name, value in row.items() if name != 'ratio'}) for row in found['rows']]
        return cls(found['title'], found['machine'], rows)


def join_tables(title: str, tables: Sequence[RatioTable]) -> RatioTable:
    """One table with the rows of all; their tasks begin with the table they come from."""
    rows = [replace(row, task=f'{table.title}: {row.task}') for table in tables for row in table.rows]
    return RatioTable(title, '\n'.join(dict.fromkeys(table.machine for table in tables)), rows)


def machine_line() -> str:
    """One line about this machine: processor, threads, versions."""
    import platform

    import torch
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    threads, python = torch.get_num_threads(), platform.python_version()
    return f'{device}, {threads} torch threads, Python {python}, torch {torch.__version__}'
