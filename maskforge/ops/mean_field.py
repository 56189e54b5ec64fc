"""Mean field of a colour CRF over small windows: probabilities become a mask that follows the image's edges.

MAL (Lan et al. 2023, section 3.3); the update is the mean field of Krähenbühl and Koltun, NeurIPS 2011, with one colour
kernel between the pixels of a window and no unary term after the start.

Legend: B crops, S side in pixels, N pairs of a window's centre and another pixel.
"""
import functools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from .kernel_trial import HAS_TRITON, works

FORMS = ('logit', 'exact')
#: keeps the exact form's quotient apart from 0 / 0
EPS = 1e-6


@torch.no_grad()
def mean_field(image: Float[Tensor, 'B 3 S S'], unary: Float[Tensor, 'B S S'], box_mask: Float[Tensor, 'B S S'], *,
               kernel_size: int = 3, num_iter: int = 100, zeta: float | int = 0.1, low: float = 0.1, high: float = 0.9,
               form: str = 'logit', dilation: int = 1, fused: bool | None = None) -> Bool[Tensor, 'B S S']:
    """Return the foreground after ``num_iter`` updates.

    A pixel's message to another is weighted by exp(-|difference of colours|^2 / (2 zeta^2)), its own by 1; pixels
    outside the image send none. The state starts at ``unary`` inside the box.

    Args:
        image: colours, usually normalised; float32 is used whatever it is.
        unary: probabilities of the foreground.
        box_mask: how much of each pixel is in the box, in [0, 1].
        kernel_size: side of the window, odd.
        zeta: colour distance at which the weight has fallen to exp(-1/2).
        low, high: the state stays between these; 0 < low < high < 1.
        form: 'exact' multiplies probabilities; 'logit' adds their logits, which drops a term of 1e-6 from the quotient
            and takes about a tenth of the time (0.04 % of pixels differ).
        dilation: distance of the window's pixels.
        fused: do all updates of the logit form in one Triton kernel; by default on a GPU where it works.

    Raises:
        ValueError: an even window, bounds or a form that do not exist; ``fused=True`` with the exact form.
        ImportError: ``fused=True`` without Triton.
    """
    _check(kernel_size, num_iter, zeta, low, high, form, dilation)
    if fused and form == 'exact':
        raise ValueError("fused=True is of form='logit' only.")
    offsets = half_window(kernel_size, dilation)
    weights = pair_weights(image.float(), offsets, zeta=float(zeta))
    box_mask = box_mask.float()
    start = (unary.float() * box_mask).clamp(low, high)
    if form == 'exact':
        return _exact(start, box_mask, weights, offsets, num_iter, low, high) > 0.5
    bounds = math.log(low / (1 - low)), math.log(high / (1 - high))
    fields = torch.logit(start), box_mask.log(), weights, offsets
    if fused or (fused is None and start.is_cuda and HAS_TRITON and _fused_works(start.device.type)):
        return _fused(*fields, num_iter, bounds, kernel_size, dilation) > 0
    return _logit(*fields, num_iter, bounds) > 0


def half_window(kernel_size: int, dilation: int = 1) -> list[tuple[int, int]]:
    """Return the (down, right) steps to one half of a window's other pixels; the other half are their opposites."""
    reach = [step * dilation for step in range(-(kernel_size // 2), kernel_size // 2 + 1)]
    return [(down, right) for down in reach for right in reach if (down, right) > (0, 0)]


def pair_weights(image: Float[Tensor, 'B 3 S S'], offsets: Sequence[tuple[int, int]], *,
                 zeta: float) -> list[Float[Tensor, 'B _ _']]:
    """Return for every step the weights of all pairs of pixels that are this step apart; symmetric, so once."""
    found = []
    for down, right in offsets:
        ours, theirs = _pair(image, down, right)
        found.append(((ours - theirs).square().sum(1) / (-2 * zeta**2)).exp())
    return found


def aligned_weights(weights: Sequence[Tensor], offsets: Sequence[tuple[int, int]],
                    like: Float[Tensor, 'B S S']) -> Float[Tensor, 'P B S S']:
    """Return pair weights as maps of the crop's size: at each pixel that of its partner, zero where there is none."""
    found = like.new_zeros(len(offsets), *like.shape)
    for one, weight, (down, right) in zip(found, weights, offsets):
        _pair(one, down, right)[0].copy_(weight)
    return found


def _pair(tensor: Float[Tensor, '*B S S'], down: int, right: int) -> tuple[Tensor, Tensor]:
    """Views of all pixels that have a partner (down, right) steps away, and of the partners."""
    height, width = tensor.shape[-2:]
    ours = tensor[..., :height - down, max(-right, 0):width - max(right, 0)]
    return ours, tensor[..., down:, max(right, 0):width - max(-right, 0)]


def _messages(state: Tensor, out: Tensor, weights: Sequence[Tensor], offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Put the weighted sum over every pixel's window into ``out``."""
    out.copy_(state)
    for weight, (down, right) in zip(weights, offsets):
        from_ours, from_theirs = _pair(state, down, right)
        to_ours, to_theirs = _pair(out, down, right)
        to_ours.addcmul_(weight, from_theirs)
        to_theirs.addcmul_(weight, from_ours)
    return out


def _logit(state: Tensor, log_box: Tensor, weights: Sequence[Tensor], offsets: Sequence, num_iter: int,
           bounds: tuple[float, float]) -> Tensor:
    other = torch.empty_like(state)
    for _ in range(num_iter):
        other = _messages(state, other, weights, offsets).add_(log_box).clamp_(*bounds)
        state, other = other, state
    return state


def _fused(state: Tensor, log_box: Tensor, weights: Sequence[Tensor], offsets: Sequence, num_iter: int,
           bounds: tuple[float, float], kernel_size: int, dilation: int) -> Tensor:
    from .mean_field_triton import updated
    return updated(state, log_box, aligned_weights(weights, offsets, state), kernel_size=kernel_size,
                   dilation=dilation, num_iter=num_iter, bounds=bounds)


@functools.cache
def _fused_works(device: str) -> bool:
    """Whether the kernel compiles and equals the loop here; tried once, on a tiny example."""
    return works(_difference, device, otherwise='the mean field falls back to a launch for every operation: the Triton '
                                                f'kernel fails on this {device} device')


def _difference(device: str) -> str:
    # waves, to leave the random generators alone
    state = torch.arange(2 * 7 * 7, device=device, dtype=torch.float32).sin().view(2, 7, 7)
    offsets, settings = half_window(3), (5, (-2., 2.))
    fields = state, torch.zeros_like(state), pair_weights(state[:, None].expand(2, 3, 7, 7), offsets, zeta=1.0), offsets
    worst = (_fused(*fields, *settings, 3, 1) - _logit(state.clone(), *fields[1:], *settings)).abs().max().item()
    return f'differs by {worst:.2g}' if not worst < 1e-4 else ''  # not (worst > ...): it may be NaN


def _exact(state: Tensor, box: Tensor, weights: Sequence[Tensor], offsets: Sequence, num_iter: int, low: float,
           high: float) -> Tensor:
    sums = torch.empty_like(state), torch.empty_like(state)
    for _ in range(num_iter):
        inside = _messages(state.log(), sums[0], weights, offsets).exp_().mul_(box)
        outside = _messages((1 - state).log_(), sums[1], weights, offsets).exp_()
        state = (inside / (EPS + inside + outside)).clamp_(low, high)
    return state


def box_profile(starts: Float[Tensor, ' B'], ends: Float[Tensor, ' B'], crop_size: int, side: int,
                periods: Float[Tensor, ' B'] | None = None) -> Float[Tensor, 'B side']:
    """Return how much of each of ``side`` cells along one axis is in the box.

    A crop pixel is in the box if its centre is; cells interpolate between pixels, as a bilinear resize of the box's
    mask does. The box's mask at this size is the outer product of its two profiles.

    Args:
        starts, ends: of the box in pixels of the crop.
        periods: pixels of the crop after which the box comes again; None for once.
    """
    centres = torch.arange(crop_size, device=starts.device) + 0.5
    offsets = centres - starts[:, None]
    if periods is not None:
        offsets = offsets.remainder(periods[:, None])
    inside = ((offsets >= 0) & (offsets < (ends - starts)[:, None])).float()
    return F.interpolate(inside[:, None], size=side, mode='linear', align_corners=False)[:, 0]


def _check(kernel_size: int, num_iter: int, zeta: float | int, low: float, high: float, form: str,
           dilation: int) -> None:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'crf_kernel_size={kernel_size} must be odd, so that a window has a centre.')
    if num_iter < 0 or dilation < 1 or zeta <= 0:
        raise ValueError(f'crf_num_iter={num_iter} must not be negative, dilation={dilation} at least 1 and '
                         f'crf_zeta={zeta} positive.')
    if not 0 < low < high < 1:
        raise ValueError(f'crf_value_low={low} and crf_value_high={high} must satisfy 0 < low < high < 1.')
    if form not in FORMS:
        raise ValueError(f'mean_field={form!r} is not one of {", ".join(FORMS)}.')
