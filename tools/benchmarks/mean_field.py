"""Time of MAL's mean field, both forms, against a plain PyTorch loop that unfolds every pixel's window.

    python tools/benchmarks/mean_field.py --crops 4 --iterations 100
"""
import sys
from functools import partial

import torch
from benchmark_arguments import finish, finished, parser, timing
from torch import Tensor
from torch.nn import functional as F

from maskforge.analysis.ratio_table import RatioTable, compare_seconds, machine_line, time_in_turns
from maskforge.ops.mean_field import mean_field

ZETA, LOW, HIGH = 0.1, 0.1, 0.9


def make_crops(count: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth coloured blobs with a little noise, an uncertain start, and boxes that fill most of the crop."""
    generator = torch.Generator().manual_seed(0)

    def smooth(channels: int, cells: int) -> Tensor:
        coarse = torch.randn(count, channels, cells, cells, generator=generator)
        return F.interpolate(coarse, size=(side, side), mode='bicubic', align_corners=False)

    image = smooth(3, 5).sign() * 0.8 + smooth(3, 17) * 0.05 + torch.randn(count, 3, side, side,
                                                                           generator=generator) * 0.02
    unary = (smooth(1, 9)[:, 0] + smooth(1, 3)[:, 0]).sigmoid()
    box = torch.zeros(count, side, side)
    margin = round(0.115 * side)
    box[:, margin:side - margin, margin:side - margin] = 1
    return image, unary, box


def plain(image: Tensor, unary: Tensor, box: Tensor, *, iterations: int) -> Tensor:
    """The definition with ``unfold``: messages of all nine pixels of a window, by their logarithms."""
    side = image.shape[-1]

    def windows(planes: Tensor) -> Tensor:
        return F.unfold(planes, 3, padding=1).unflatten(1, (-1, 9)).unflatten(-1, (side, side))

    seen = windows(torch.ones_like(image[:, :1]))[:, 0]
    difference = windows(image) - image[:, :, None]
    weights = (-difference.square().sum(1) / (2 * ZETA**2)).exp() * seen
    state = (unary * box).clamp(LOW, HIGH)
    for _ in range(iterations):
        both = torch.stack((state, 1 - state), 1).log()
        inside, outside = (windows(both) * weights[:, None]).sum(2).exp().unbind(1)
        inside = inside * box
        state = (inside / (1e-6 + inside + outside)).clamp(LOW, HIGH)
    return state > 0.5


def main() -> int:
    """Check, measure and print."""
    arguments = parser(__doc__.splitlines()[0], rounds=5)
    arguments.add_argument('--crops', type=int, default=4, help='crops of one call (4)')
    arguments.add_argument('--side', type=int, default=128, help='their side in pixels (128)')
    arguments.add_argument('--iterations', type=int, default=100, help='updates (100)')
    arguments.add_argument('--threads', type=int, default=1, help='threads of torch (1)')
    arguments.add_argument('--device', choices=('cpu', 'cuda'), default='cuda' if torch.cuda.is_available() else 'cpu')
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    crops = [part.to(args.device) for part in make_crops(args.crops, args.side)]
    update = partial(mean_field, *crops, num_iter=args.iterations, zeta=ZETA, low=LOW, high=HIGH)
    sides = dict(exact=partial(update, form='exact'), logit=partial(update, fused=False))
    if args.device == 'cuda':
        sides['fused logit'] = partial(update, fused=True)
    forms, sides['unfold'] = list(sides), partial(plain, *crops, iterations=args.iterations)
    masks = {name: run() for name, run in sides.items()}
    notes = {name: (masks[name] != masks['unfold']).float().mean().item() for name in forms}
    if max(notes.values()) > 1e-3:
        raise RuntimeError(f'more than 0.1 % of the pixels differ: {notes}')
    seconds = time_in_turns({name: finished(run, args.device) for name, run in sides.items()}, **timing(args))
    rows = [compare_seconds(f'{name} form', seconds, ours=name, peer='unfold', images=args.crops,
                            note=f'{share:.4%} of pixels differ') for name, share in notes.items()]
    title = (f'Mean field, {args.crops} crops of {args.side}x{args.side} (images/s is crops/s), {args.iterations} '
             f'updates, {args.threads} threads, {args.device}')
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
