"""Every implementation of deformable attention against grid sampling: forward, and forward with backward, in turns.

    python tools/benchmarks/deformable_attention.py --threads 2
    python tools/benchmarks/deformable_attention.py --device cuda --dtype bfloat16 --size 800 1333

Calls of Deformable DETR's encoder (every token of four levels is a query) and decoder (300 queries), 8 heads of 32
channels, 4 points. transformers' operator takes part where it is installed, compiled ones by ``--peer``. On a GPU the
time that the bytes of a call need is printed beside the measured time.
"""
import argparse
import functools
import importlib
import importlib.util
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from benchmark_arguments import finish, finished, parser, timing
from torch import Tensor

from maskforge.analysis.ratio_table import Comparison, RatioTable, compare_seconds, machine_line, time_in_turns
from maskforge.ops.deformable_attention import multi_scale_deformable_attention
from maskforge.ops.fused_attention import DEVICES, INSTALLED

HEADS, CHANNELS, POINTS, QUERIES = 8, 32, 4, 300
SIZES = ((512, 640), (800, 1333))
# of a result, relative to its largest number; gradients ten times as much
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
#: bytes a second of the memory of GPUs that --memory-speed need not be given for
MEMORY_SPEEDS = {'H200': 4.3e12, 'H100': 3.0e12, 'A100': 1.8e12}


@dataclass
class Call:
    """The inputs of one call."""

    value: Tensor
    shapes: list[tuple[int, int]]
    locations: Tensor
    weights: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """What has gradients."""
        return [self.value, self.locations, self.weights]


def make_call(size: tuple[int, int], *, kind: str, batch: int, device: str, dtype: torch.dtype) -> Call:
    """Samples scatter a few pixels around their query, as those of a trained network do."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (8, 16, 32, 64)]
    tokens = sum(height * width for height, width in shapes)
    places = torch.cat([torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w).flip(1)
                        for h, w in shapes])
    if kind == 'decoder':
        places = torch.rand(QUERIES, 2, generator=generator)
    form = (batch, len(places), HEADS, len(shapes), POINTS)
    pixels = torch.tensor([[w, h] for h, w in shapes])[:, None]
    locations = places[:, None, None, None] + torch.randn(*form, 2, generator=generator) * 3 / pixels
    weights = torch.randn(*form, generator=generator).flatten(3).softmax(-1).view(form)
    value = torch.randn(batch, tokens, HEADS, CHANNELS, generator=generator)
    value, weights = (tensor.to(device, dtype).requires_grad_() for tensor in (value, weights))
    return Call(value, shapes, locations.to(device).requires_grad_(), weights)


def make_sides(call: Call, device: str, peers: list[str]) -> dict[str, Callable[[], Tensor]]:
    """Everything that runs on the device; ``grid_sample`` is what the others are compared with."""
    names = ['grid_sample', *(name for name in DEVICES if INSTALLED[name] and device in DEVICES[name])]
    sides = {name: functools.partial(multi_scale_deformable_attention, call.value, call.shapes, call.locations,
                                     call.weights, implementation=name) for name in names}
    if importlib.util.find_spec('transformers'):
        sides['transformers'] = _transformers(call)
    return sides | {name: _peer(name, call) for name in peers}


def _transformers(call: Call) -> Callable[[], Tensor]:
    from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention
    operator, shapes = MultiScaleDeformableAttention(), torch.tensor(call.shapes, device=call.value.device)
    # its grid must have the dtype of the value
    return lambda: operator(call.value, shapes, call.shapes, None, call.locations.to(call.value.dtype), call.weights,
                            None)


def _peer(name: str, call: Call) -> Callable[[], Tensor]:
    module, _, function = name.partition(':')
    operator = getattr(importlib.import_module(module), function)
    shapes = torch.tensor(call.shapes, device=call.value.device)
    areas = shapes.prod(1)
    return lambda: operator(call.value, shapes, areas.cumsum(0) - areas, call.locations, call.weights).flatten(2)


def with_gradients(side: Callable[[], Tensor], call: Call) -> list[Tensor]:
    """The result and the three gradients."""
    found = side()
    return [found, *torch.autograd.grad(found, call.tensors, torch.ones_like(found))]


def check(sides: dict[str, Callable[[], Tensor]], call: Call) -> dict[str, str]:
    """What every side differs by from ``grid_sample``.

    Raises:
        RuntimeError: one of ours by more than the tolerance.
    """
    wanted, notes = with_gradients(sides['grid_sample'], call), {}
    for name, side in sides.items():
        errors = [((one - other).abs().max() / other.abs().max()).item()
                  for one, other in zip(with_gradients(side, call), wanted)]
        limit = TOLERANCES[call.value.dtype]
        if name in DEVICES and not (errors[0] < limit and max(errors[1:]) < 10 * limit):
            raise RuntimeError(f'{name} differs from grid_sample by {errors}, of which {limit} is allowed')
        notes[name] = f'within {errors[0]:.0e}, gradients {max(errors[1:]):.0e}'
    return notes


def compare(call: Call, task: str, device: str, args: argparse.Namespace) -> list[Comparison]:
    """Rows of one call: every side against ``grid_sample``."""
    sides = make_sides(call, device, args.peer)
    notes, rows = check(sides, call), []
    with torch.no_grad():
        forward = time_in_turns({name: finished(side, device) for name, side in sides.items()}, **timing(args))
    both = time_in_turns({name: finished(functools.partial(with_gradients, side, call), device)
                          for name, side in sides.items()}, **timing(args))
    for title, seconds, gradients in (('forward', forward, False), ('forward and backward', both, True)):
        for name in sides:
            if name != 'grid_sample':
                note = notes[name] + (roofline(call, seconds[name], args.memory_speed, gradients=gradients)
                                      if device == 'cuda' else '')
                rows.append(compare_seconds(f'{task}, {title}: {name}', seconds, ours=name, peer='grid_sample',
                                            note=note))
    return rows


def roofline(call: Call, seconds: list[float], speed: float, *, gradients: bool) -> str:
    """What the memory would need to read every input and write every output once, against what was measured."""
    once = sum(tensor.numel() * tensor.element_size() for tensor in call.tensors)
    queries, out = call.locations.shape[:2].numel(), HEADS * CHANNELS * call.value.element_size()
    read_and_written = once + queries * out
    if gradients:  # inputs and the gradient of the result again, three gradients, zeros of the value's first
        zeros = call.value.numel() * 4
        read_and_written += once + queries * out + once + zeros
    ideal, median = read_and_written / speed, statistics.median(seconds)
    return (f'; {read_and_written / 1e6:.0f} MB take {ideal * 1e6:.0f} us at {speed / 1e12:.1f} TB/s: '
            f'{ideal / median:.0%} of the roofline')


def memory_speed(given: float | None, device: str) -> float:
    """Bytes a second, as given in TB/s or known from the GPU's name.

    Raises:
        ValueError: an unknown GPU, and nothing given.
    """
    if device != 'cuda' or given:
        return (given or 0) * 1e12
    name = torch.cuda.get_device_name()
    for part, speed in MEMORY_SPEEDS.items():
        if part in name:
            return speed
    raise ValueError(f'the memory speed of {name} is not known: give --memory-speed in TB/s.')


def main() -> int:
    """Check, measure and print."""
    arguments = parser(__doc__.splitlines()[0], rounds=9)
    arguments.add_argument('--size', type=int, nargs=2, action='append', metavar=('H', 'W'),
                           help='image size, may be repeated (512 640 and 800 1333)')
    arguments.add_argument('--batch', type=int, default=1, help='images of one call (1)')
    arguments.add_argument('--device', choices=('cpu', 'cuda'), default='cuda' if torch.cuda.is_available() else 'cpu')
    arguments.add_argument('--dtype', choices=('float32', 'bfloat16', 'float16'), default='float32')
    arguments.add_argument('--threads', type=int, default=torch.get_num_threads(), help='threads of torch')
    arguments.add_argument('--memory-speed', type=float, help='of the GPU in TB/s, for the roofline')
    arguments.add_argument('--peer', action='append', default=[], metavar='MODULE:FUNCTION',
                           help='another operator of (value, shapes, level starts, locations, weights), as the '
                                'original CUDA extension and its descendants take them; may be repeated')
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    args.memory_speed = memory_speed(args.memory_speed, args.device)
    rows = []
    for size in map(tuple, args.size or SIZES):
        for kind in ('encoder', 'decoder'):
            call = make_call(size, kind=kind, batch=args.batch, device=args.device, dtype=getattr(torch, args.dtype))
            rows += compare(call, f'{kind} {size[0]}x{size[1]}', args.device, args)
    title = f'Deformable attention against grid_sample, batch {args.batch}, {args.dtype}, {args.device}'
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
