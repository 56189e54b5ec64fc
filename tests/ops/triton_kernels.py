"""Run by test_triton_kernels.py in a process of its own: Triton decides at its import whether it interprets."""
import sys

import torch

from maskforge.ops import mean_field as fields
from maskforge.ops.deformable_attention import multi_scale_deformable_attention

torch.set_num_threads(1)
TOLERANCES = {torch.float32: 2e-6, torch.float64: 1e-12, torch.bfloat16: 1e-2, torch.float16: 1e-3}
# shapes of levels, B, Q, H, D, P: one number a tile, several tiles, channels that are not a power of two
CASES = [([(1, 1)], 1, 1, 1, 1, 1), ([(3, 2), (1, 2)], 2, 3, 2, 5, 1), ([(2, 3)], 1, 5, 1, 256, 2)]


def differences(shapes, batch, queries, heads, channels, points, *, dtype):
    generator = torch.Generator().manual_seed(0)
    size, tokens = (batch, queries, heads, len(shapes), points), sum(height * width for height, width in shapes)
    exact = torch.promote_types(dtype, torch.float32)
    inputs = [torch.randn(batch, tokens, heads, channels, generator=generator).to(dtype),
              (torch.rand(*size, 2, generator=generator) * 1.4 - 0.2).to(exact),
              torch.rand(*size, generator=generator).to(dtype)]
    inputs = [tensor.requires_grad_() for tensor in inputs]
    results = []
    for name in ('triton', 'grid_sample'):
        found = multi_scale_deformable_attention(inputs[0], shapes, *inputs[1:], implementation=name)
        results.append([found, *torch.autograd.grad(found, inputs, torch.ones_like(found))])
    return [((one - other).abs().max() / other.abs().max().clamp(min=1e-6)).item() for one, other in zip(*results)]


def mean_field_difference(side, kernel_size, dilation, num_iter):
    """Of logits; one block of pixels, several, a crop smaller than the window."""
    generator = torch.Generator().manual_seed(0)
    image, state = (torch.randn(2, *shape, generator=generator) for shape in ((3, side, side), (side, side)))
    box = torch.ones(2, side, side)
    box[:, :2], box[:, 2] = 0, 0.5
    offsets = fields.half_window(kernel_size, dilation)
    inputs = state, box.log(), fields.pair_weights(image, offsets, zeta=1.0), offsets
    fused = fields._fused(*inputs, num_iter, (-2.2, 2.2), kernel_size, dilation)
    return (fused - fields._logit(state.clone(), *inputs[1:], num_iter, (-2.2, 2.2))).abs().max().item()


def main():
    failed = int(not fields._fused_works('cpu'))
    for case in ((9, 3, 1, 5), (70, 3, 1, 2), (9, 5, 2, 3), (3, 5, 1, 3), (5, 1, 1, 2), (5, 3, 1, 0)):
        found = mean_field_difference(*case)
        print('mean field', case, found)
        failed += not found < 1e-5
    for dtype, tolerance in TOLERANCES.items():
        for case in CASES if dtype == torch.float32 else CASES[1:2]:
            found = differences(*case, dtype=dtype)
            print(dtype, case, found)
            failed += not max(found) <= tolerance
    return failed


if __name__ == '__main__':
    sys.exit(main())
