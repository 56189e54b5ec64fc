import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_clips import ALWAYS, ONE_FRAME, gradients, losses_of, tiny_batch, tiny_sam2, total

from maskforge.models.sam2.chunks import sum_over_chunks

SUPPORT = str(Path(__file__).parents[2] / 'support')




@pytest.mark.parametrize('kind', ['masks', 'clicks'])
@pytest.mark.parametrize('parts', [(), ('image_encoder', 'memory_attention', 'decoder', 'loss')], ids=['', 'again'])
def test_gradients_do_not_depend_on_chunks(kind, parts):
    batch, prompts = tiny_batch(2, (2, 1)), dict(**ALWAYS[kind], **ONE_FRAME, num_correction_pt_per_frame=2)
    whole, cut = (gradients(tiny_sam2(prompts=prompts, objects_per_chunk=size, activation_checkpoint=parts), batch)
                  for size in (None, 2))
    assert whole.keys() == cut.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, of=name: f'{of} {text}')


def test_losses_do_not_depend_on_chunks_outside_training():
    batch = tiny_batch(2, (3,))
    found = [losses_of(tiny_sam2(objects_per_chunk=size).eval(), batch)['loss_mask'].item() for size in (None, 1)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_chunks_have_the_configured_size():
    seen = []

    def run(shared, rows):
        seen.append(rows)
        return shared[rows].sum()[None]
    values = torch.arange(5., requires_grad=True)
    sum_over_chunks(run, values, 5, 2).backward()
    forward = [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert seen == forward + forward[::-1] or seen == forward  # sums keep nothing to be computed again
    assert torch.equal(values.grad, torch.ones(5))
    with torch.no_grad():
        assert sum_over_chunks(run, values, 5, 2).item() == 10.
    assert sum_over_chunks(run, values, 5, None).item() == 10. and seen[-1] == slice(0, 5)


def test_dropout_draws_the_same_numbers_again():
    """Gradients of a dropped product show which entries the second pass dropped."""
    weight = torch.ones(64, requires_grad=True)

    def run(shared, rows):
        return torch.nn.functional.dropout(shared * shared, 0.5)[rows].sum()[None]
    torch.manual_seed(0)
    value = sum_over_chunks(run, weight, 64, 32)
    value.backward()
    assert weight.grad.sum().item() == pytest.approx(2 * value.item())


def test_bad_chunk():
    with pytest.raises(ValueError, match='objects_per_chunk=0 must be at least 1'):
        tiny_sam2(objects_per_chunk=0)


class Held:
    """Bytes of the tensors that autograd keeps, and the most of them at one time."""

    def __init__(self):
        self.now = self.peak = 0

    def pack(self, tensor):
        return _Counted(self, tensor)

    def unpack(self, counted):
        return counted.tensor


class _Counted:
    def __init__(self, held, tensor):
        self.held, self.tensor, self.size = held, tensor, tensor.numel() * tensor.element_size()
        held.now += self.size
        held.peak = max(held.peak, held.now)

    def __del__(self):
        self.held.now -= self.size


MEASURE = r"""
import re, sys
sys.path.insert(0, {support!r})
import torch
from tiny_clips import ALWAYS, ONE_FRAME, losses_of, tiny_batch, tiny_sam2, total
torch.set_num_threads(1)
model = tiny_sam2(prompts=dict(**ALWAYS['clicks'], **ONE_FRAME), objects_per_chunk={chunk},
                  network=dict(image_size=256))
total(losses_of(model, tiny_batch(1, (1,), side=256))).backward()
# ru_maxrss would begin at what the process that started this one had
peak = lambda: int(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1])
before = peak()
total(losses_of(model, tiny_batch(8, ({objects},), side=256))).backward()
print((peak() - before) / 1024)
"""


def peak_mib(objects: int, chunk: int | None) -> float:
    """Growth of the process in a training step of 8 frames."""
    code = MEASURE.format(support=SUPPORT, objects=objects, chunk=chunk)
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'MALLOC_MMAP_THRESHOLD_': '65536'}
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


@pytest.mark.slow
def test_peak_memory_of_a_step():
    whole = [peak_mib(objects, None) for objects in (1, 2, 3, 4)]
    cut = [peak_mib(objects, 1) for objects in (1, 2, 3, 4)]
    print(f'MiB of a step with 1 .. 4 objects: at once {whole}, one at a time {cut}')
    per_object = (whole[3] - whole[0]) / 3
    # what stays of an object that is not its turn are its masks and the nodes of its graph without tensors, some
    # 10 MiB whatever the size of images
    assert cut[3] - cut[0] < (whole[3] - whole[0]) / 2
    assert cut[3] < whole[1] + per_object


def test_what_is_kept_for_the_backward_pass_is_bounded():
    def kept(objects, chunk):
        held = Held()
        model = tiny_sam2(prompts=ALWAYS['masks'], objects_per_chunk=chunk)
        with torch.autograd.graph.saved_tensors_hooks(held.pack, held.unpack):
            loss = total(losses_of(model, tiny_batch(3, (objects,))))
        return held.now if loss.requires_grad else 0
    one, three, cut = kept(1, None), kept(3, None), kept(3, 1)
    assert cut < one < three
