"""Where the time of two sides goes, by groups of operators: ``--profile`` of the benchmarks."""
from collections.abc import Callable, Mapping

from terminaltables import AsciiTable
from torch.profiler import ProfilerActivity, profile

#: group -> beginnings of the operators' names; the first that fits
GROUPS = {
    'matrix products': ('aten::mm', 'aten::addmm', 'aten::bmm', 'aten::baddbmm', 'aten::_addmm', 'mkldnn::_linear'),
    'convolutions': ('aten::mkldnn_convolution', 'aten::convolution', 'aten::_slow_conv', 'aten::thnn_conv'),
    'attention': ('aten::_scaled_dot_product', 'aten::_flash', 'aten::_efficient', 'aten::_softmax'),
    'deformable attention, samples, regions': ('maskforge::', 'aten::grid_sampler', 'torchvision::', 'Numba'),
    'norms and activations': ('aten::native_', 'aten::gelu', 'aten::relu', 'aten::threshold'),
    'update': ('aten::_fused', 'aten::_foreach'),
    'copies': ('aten::copy_', 'aten::cat', 'aten::clone', 'aten::fill_', 'aten::zero_', 'aten::constant_pad',
               'aten::index', 'aten::gather'),
    'the rest': ('',),
}


def print_shares(task: str, sides: Mapping[str, Callable[[], object]]) -> None:
    """Run each side once and print the milliseconds of its operators by group."""
    columns = {name: _milliseconds(run) for name, run in sides.items()}
    rows = [[f'{task}: ms in operators', *columns],
            *([group, *(f'{times[group]:.0f}' for times in columns.values())] for group in GROUPS),
            ['all', *(f'{sum(times.values()):.0f}' for times in columns.values())]]
    print(AsciiTable(rows).table, flush=True)


def _milliseconds(run: Callable[[], object]) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    times = dict.fromkeys(GROUPS, 0.)
    for event in found.key_averages():
        times[next(group for group, names in GROUPS.items() if event.key.startswith(names))] += (
            event.self_cpu_time_total / 1e3)
    return times
