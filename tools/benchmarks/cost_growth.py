"""How time and memory grow: training steps with image size, queries, objects and batch; tracking with frames;
COCO evaluation with images.

    python tools/benchmarks/cost_growth.py --output-dir growth

Writes cost_growth.json and one picture an axis. Every line gets an exponent (cost ~ size^exponent, fitted) and the
largest one that the algorithm explains; the exit code is 1 where a line grows faster. Linux only.
"""
import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from benchmark_arguments import CLOCKS
from evaluation_time import draw, ours
from growing_models import FAMILIES, tracking, training_step
from terminaltables import AsciiTable

from maskforge.analysis.peak_memory import peak_memory
from maskforge.analysis.ratio_table import machine_line, time_in_turns
from maskforge.formats.json_file import write_json

#: by how much a fitted exponent may be above the expected one: noise, and tensors that leave the caches
TOLERANCE = 0.25
USUAL = dict(side=192, queries=100, objects=4, batch=1)


@dataclass
class Line:
    """One line of a plot.

    Attributes:
        subject: what was measured.
        axis: what grew.
        sizes: how large it was.
        limit: the largest exponent of time and of memory that is as it should be.
        seconds, mebibytes: medians of the time, and peaks of the memory.
    """

    subject: str
    axis: str
    sizes: list[int]
    limit: float
    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)

    def exponent(self, values: list[float]) -> float:
        """The slope of the line in logarithms."""
        return float(np.polyfit(np.log(self.sizes), np.log(np.maximum(values, 1e-3)), 1)[0])

    @property
    def exponents(self) -> tuple[float, float]:
        """Of time and of memory."""
        return self.exponent(self.seconds), self.exponent(self.mebibytes)

    @property
    def grows_as_it_should(self) -> bool:
        """Whether neither is above the limit, but for noise."""
        return max(self.exponents) <= self.limit + TOLERANCE


def planned(*, quick: bool) -> Iterator[tuple[Line, Callable[[int], Callable[[], object]]]]:
    """All lines, and for each what makes the work of a size."""
    count = 2 if quick else None
    axes = dict(side=([128, 192, 256, 384], 2.), queries=([50, 100, 200, 400], 1.), objects=([1, 4, 16, 64], 1.),
                batch=([1, 2, 4], 1.))
    for axis, (sizes, limit) in axes.items():
        for family in FAMILIES:
            yield Line(family, axis, sizes[:count], limit), partial(_step, family, axis)
    yield Line('SAM 2 tiny', 'frames', [4, 8, 16, 32][:count], 1.), lambda frames: tracking(
        side=256, frames=frames, objects=1)
    yield Line('COCO evaluation', 'images', [50, 100, 200, 400][:count], 1.), _evaluation


def _step(family: str, axis: str, size: int) -> Callable[[], None]:
    return training_step(family, **{**USUAL, axis: size})


def _evaluation(images: int) -> Callable[[], object]:
    truth, samples, _ = draw(images, 10)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'truth.json'
            write_json(truth, path)
            ours(path, samples, 'pycocotools')
    return run


def measure(line: Line, make: Callable[[int], Callable[[], object]], *, rounds: int, clock: str) -> None:
    """Fill in the line."""
    make(line.sizes[0])()  # libraries are loaded and loops compiled
    for size in line.sizes:
        run = make(size)
        line.mebibytes.append(peak_memory(run))
        seconds = time_in_turns({'ours': run}, rounds=rounds, warmup=0, clock=CLOCKS[clock])['ours']
        line.seconds.append(statistics.median(seconds))


def plot(lines: list[Line], path: Path) -> None:
    """Time and memory of the lines of one axis, in logarithms: equal steps are equal factors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter
    figure = Figure(figsize=(10, 4), layout='constrained')
    FigureCanvasAgg(figure)
    for panel, (name, values) in zip(figure.subplots(1, 2), (('seconds', 'seconds'), ('MiB at the peak', 'mebibytes'))):
        for line in lines:
            label = f'{line.subject}: ~ {line.axis}^{line.exponent(getattr(line, values)):.2f}'
            panel.plot(line.sizes, getattr(line, values), marker='o', label=label)
        panel.set(xscale='log', yscale='log', xlabel=lines[0].axis, ylabel=name)
        panel.set_xticks(lines[0].sizes, map(str, lines[0].sizes))
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
        panel.minorticks_off()
        panel.legend(fontsize='small')
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def table(lines: list[Line]) -> str:
    """The lines as text."""
    rows = [[line.subject, line.axis, f'{line.sizes[0]} .. {line.sizes[-1]}',
             f'{line.seconds[0]:.3g} .. {line.seconds[-1]:.3g} s', f'{line.exponents[0]:.2f}',
             f'{line.mebibytes[0]:.0f} .. {line.mebibytes[-1]:.0f} MiB', f'{line.exponents[1]:.2f}',
             f'{line.limit:g}', '' if line.grows_as_it_should else 'TOO FAST'] for line in lines]
    header = ['what', 'grows with', 'from .. to', 'time', 'exponent', 'peak memory', 'exponent', 'at most', '']
    return AsciiTable([header, *rows], title='Growth of cost').table


def main() -> int:
    """Measure, print, write and plot."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--output-dir', type=Path, default=Path('cost_growth'), help='(cost_growth)')
    arguments.add_argument('--rounds', type=int, default=2, help='measurements of each size (2)')
    arguments.add_argument('--clock', choices=CLOCKS, default='cpu', help='(cpu)')
    arguments.add_argument('--axis', nargs='+', help='only these, such as side frames')
    arguments.add_argument('--quick', action='store_true', help='two sizes of each')
    args = arguments.parse_args()
    lines = []
    for line, make in planned(quick=args.quick):
        if args.axis is None or line.axis in args.axis:
            measure(line, make, rounds=args.rounds, clock=args.clock)
            lines.append(line)
            print(f'{line.subject}, {line.axis}: {", ".join(f"{value:.3g}" for value in line.seconds)} s', flush=True)
    print(f'{table(lines)}\n{machine_line()}')
    args.output_dir.mkdir(parents=True, exist_ok=True)
    rows = [dict(asdict(line), exponents=line.exponents) for line in lines]
    (args.output_dir / 'cost_growth.json').write_text(json.dumps(dict(
        machine=machine_line(), clock=args.clock, threads=torch.get_num_threads(), lines=rows), indent=1))
    for axis in dict.fromkeys(line.axis for line in lines):
        plot([line for line in lines if line.axis == axis], args.output_dir / f'{axis}.png')
    return 0 if all(line.grows_as_it_should for line in lines) else 1


if __name__ == '__main__':
    sys.exit(main())
