"""The fused kernels: against grid sampling, on several threads, in compiled graphs, and when they fail."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from maskforge.layers import MultiScaleDeformableAttention
from maskforge.ops import deformable_attention, fused_attention
from maskforge.ops.deformable_attention import attention_implementation, multi_scale_deformable_attention

needs_numba = pytest.mark.skipif(not fused_attention.INSTALLED['numba'], reason='needs numba')
SHAPES = [(7, 9), (4, 5), (1, 3)]


def make_inputs(*, batch=2, queries=70, heads=3, channels=8, points=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    size = (batch, queries, heads, len(SHAPES), points)
    tokens = sum(height * width for height, width in SHAPES)
    value = torch.randn(batch, tokens, heads, channels, generator=generator).to(dtype)
    locations = torch.rand(*size, 2, generator=generator) * 1.4 - 0.2
    weights = torch.rand(*size, generator=generator).to(dtype)
    return [tensor.requires_grad_() for tensor in (value, locations, weights)]


def result_and_gradients(inputs, implementation=None):
    value, locations, weights = inputs
    found = multi_scale_deformable_attention(value, SHAPES, locations, weights, implementation=implementation)
    outer = torch.linspace(-1, 1, found.numel()).view(found.shape).to(found.dtype)
    return [found, *torch.autograd.grad(found, inputs, outer)]


@needs_numba
@pytest.mark.parametrize('channels', [1, 5, 8, 32, 33])
def test_numba_equals_grid_sample(channels):
    inputs = make_inputs(channels=channels)
    for found, wanted in zip(result_and_gradients(inputs, 'numba'), result_and_gradients(inputs, 'grid_sample')):
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@needs_numba
def test_numba_gives_the_same_bits_on_any_number_of_threads():
    before, inputs, found = torch.get_num_threads(), make_inputs(queries=300), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(result_and_gradients(inputs, 'numba'))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others))


@needs_numba
@pytest.mark.parametrize('place', [float('nan'), float('inf'), 1e30])
def test_numbers_that_are_none_stay_visible(place):
    value, locations, weights = make_inputs(batch=1, queries=2)
    with torch.no_grad():
        locations[0, 0, 0, 0, 0, 0] = place
    for found, wanted in zip(result_and_gradients((value, locations, weights), 'numba')[:2],
                             result_and_gradients((value, locations, weights), 'grid_sample')[:2]):
        assert torch.equal(found.isnan(), wanted.isnan())


@needs_numba
def test_operators_are_complete():
    value, locations, weights = make_inputs(batch=1, queries=2, heads=1, channels=2, points=1)
    sizes = [side for shape in SHAPES for side in shape]
    torch.library.opcheck(fused_attention.OPERATORS['numba'], (value, sizes, locations, weights),
                          test_utils=('test_schema', 'test_autograd_registration', 'test_faketensor'))


@needs_numba
def test_no_queries():
    found = result_and_gradients(make_inputs(queries=0), 'numba')
    assert found[0].shape == (2, 0, 24) and not found[1].any()


@needs_numba
@pytest.mark.skipif(torch.__version__.startswith('2.6.'), reason="torch 2.6's dynamo breaks the graph at a ContextVar")
@pytest.mark.parametrize('backend', ['eager', 'aot_eager'])
def test_whole_graphs_compile(backend):
    inputs = make_inputs(batch=1, queries=4)

    def attend(*tensors):
        return multi_scale_deformable_attention(tensors[0], SHAPES, *tensors[1:]) * 2
    compiled = torch.compile(attend, fullgraph=True, backend=backend)
    found, wanted = compiled(*inputs), attend(*inputs)
    assert torch.equal(found, wanted)
    assert all(map(torch.equal, torch.autograd.grad(found.sum(), inputs), torch.autograd.grad(wanted.sum(), inputs)))


def test_mixed_precision():
    layer = MultiScaleDeformableAttention(16, 2, len(SHAPES), 2)
    tokens = sum(height * width for height, width in SHAPES)
    query, value, reference = torch.randn(1, 3, 16), torch.randn(1, tokens, 16), torch.rand(1, 3, len(SHAPES), 2)
    arguments = dict(value=value, reference_points=reference, level_shapes=SHAPES, padding=None)
    wanted = layer(query, **arguments)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = layer(query, **arguments)
    found.float().sum().backward()
    assert found.dtype == torch.bfloat16 and torch.allclose(found.float(), wanted, atol=5e-2)
    assert layer.value_proj.weight.grad.isfinite().all()


class Attention(torch.nn.Module):
    def forward(self, value, locations, weights):
        return multi_scale_deformable_attention(value, SHAPES, locations, weights)


@pytest.mark.filterwarnings('ignore::FutureWarning', 'ignore::DeprecationWarning')
def test_exported_and_traced_graphs_hold_grid_sample():
    inputs = tuple(tensor.detach() for tensor in make_inputs(batch=1, queries=2))
    if hasattr(torch.compiler, 'is_exporting'):
        graph = str(torch.export.export(Attention(), inputs).graph)
        assert 'grid_sampler' in graph and 'deformable_attention' not in graph
    assert 'grid_sampler' in str(torch.jit.trace(Attention(), inputs).inlined_graph)


def test_fake_tensors_and_flop_counters():
    with FlopCounterMode(display=False) as counter:
        result_and_gradients(make_inputs(batch=1, queries=2))
    assert counter.get_total_flops() == 0
    with FakeTensorMode():
        assert result_and_gradients([torch.empty_like(tensor, requires_grad=True) for tensor in make_inputs()])


@pytest.fixture
def _fresh_trials():
    fused_attention._try_kernels.cache_clear()
    yield
    fused_attention._try_kernels.cache_clear()


@needs_numba
@pytest.mark.usefixtures('_fresh_trials')
@pytest.mark.parametrize(('shift', 'message'), [
    (None, r'falls back to slower grid sampling: the numba kernels for torch.float32 and 8 channels.*OSError: no LLVM'),
    (1.0, r'falls back to slower grid sampling.*cpu device: differs by \d')])
def test_kernels_that_fail_are_replaced_with_one_warning(monkeypatch, shift, message):
    kernels = fused_attention._kernels('numba')

    class Broken:
        backward = staticmethod(kernels.backward)

        @staticmethod
        def forward(*arguments):
            if shift is None:
                raise OSError('no LLVM')
            return kernels.forward(*arguments) + shift
    inputs = make_inputs(batch=1, queries=2)
    wanted = result_and_gradients(inputs, 'grid_sample')
    monkeypatch.setattr(fused_attention, '_kernels', lambda name: Broken)
    with pytest.warns(RuntimeWarning, match=message) as caught:
        found = [result_and_gradients(inputs) for _ in range(2)]
    assert len(caught) == 1
    assert all(map(torch.equal, found[1], wanted))


def test_what_is_chosen(monkeypatch):
    value = make_inputs()[0]
    assert deformable_attention._best(value) == ('numba' if fused_attention.INSTALLED['numba'] else 'grid_sample')
    assert deformable_attention._best(value.to('meta')) == 'grid_sample'
    assert deformable_attention._best(value.detach().to(torch.complex64)) == 'grid_sample'
    monkeypatch.setitem(fused_attention.INSTALLED, 'numba', False)
    assert deformable_attention._best(value) == 'grid_sample'


def test_asking_for_what_is_not_installed(monkeypatch):
    monkeypatch.setitem(fused_attention.INSTALLED, 'numba', False)
    with pytest.raises(ImportError, match=r"implementation='numba' needs numba: pip install maskforge\[cpu\]"):
        result_and_gradients(make_inputs(), 'numba')


def test_environment_variable(monkeypatch):
    seen = []
    monkeypatch.setitem(deformable_attention.IMPLEMENTATIONS, 'gather', lambda value, *_: seen.append('gather'))
    monkeypatch.setenv('MASKFORGE_DEFORMABLE_ATTENTION', 'gather')
    value, locations, weights = make_inputs()
    assert multi_scale_deformable_attention(value, SHAPES, locations, weights) is None and seen == ['gather']
    with attention_implementation('grid_sample'):
        assert multi_scale_deformable_attention(value, SHAPES, locations, weights) is not None
    monkeypatch.setenv('MASKFORGE_DEFORMABLE_ATTENTION', 'cuda')
    with pytest.raises(ValueError, match=r'MASKFORGE_DEFORMABLE_ATTENTION=cuda is not one of auto, grid_sample'):
        multi_scale_deformable_attention(value, SHAPES, locations, weights)


@needs_numba
def test_without_a_folder_for_compiled_code(monkeypatch):
    import numba

    from maskforge.ops.compiled_loops import compiled

    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available for file 'x.py'")
        return lambda function: function
    monkeypatch.setattr(numba, 'njit', njit)
    with pytest.warns(RuntimeWarning, match=r'every process compiles its own.*no locator.*Set NUMBA_CACHE_DIR'):
        assert compiled(abs) is abs
