"""SAM 2's loss over the passes of a clip against the formulas written down one by one, forward and backward.

    python tools/benchmarks/sam2_losses.py --size 512 1024 --objects 3

Per frame and pass, masks of a quarter of the size are enlarged and compared with the truth: focal and dice loss of the
mask that fits best, the errors of all predicted IoUs, visibility (Ravi et al. 2024, appendix D.2). The clip is one with
clicks: three masks after the first click of a frame and in tracking, one after every correction.
"""
import sys
from dataclasses import dataclass

import torch
from benchmark_arguments import compare_sides, finish, sides_parser
from torch import Tensor
from torch.nn import functional as F

from maskforge.analysis.ratio_table import Comparison, RatioTable, machine_line
from maskforge.models.sam2.criterion import ClipCriterion, DecoderPass, LossSettings

SETTINGS = LossSettings()


@dataclass
class Clip:
    """Passes of all frames, each with its frame's truth."""

    passes: list[tuple[DecoderPass, Tensor]]

    @property
    def leaves(self) -> list[Tensor]:
        """What has gradients."""
        return [part for found, _ in self.passes for part in (found.logits, found.ious, found.object_scores)]


def make_clip(side: int, *, frames: int, objects: int, corrections: int) -> Clip:
    """Smooth logits and ellipses; the last object is absent in the last frame."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing='ij')
    passes = []
    for frame in range(frames):
        centers = (torch.rand(objects, 2, generator=generator) * 0.5 + 0.25) * side
        truth = ((x - centers[:, 0, None, None])**2 + 2 * (y - centers[:, 1, None, None])**2) < (side / 5)**2
        if frame == frames - 1:
            truth[-1] = False
        for number in range(1 + corrections if frame == 0 else 1):
            masks = 3 if number == 0 else 1
            coarse = torch.randn(objects, masks, 9, 9, generator=generator) * 4
            logits = F.interpolate(coarse, size=(side // 4, side // 4), mode='bilinear', align_corners=False)
            leaves = logits, torch.rand(objects, masks, generator=generator), torch.randn(objects, 1,
                                                                                          generator=generator)
            passes.append((DecoderPass(*(leaf.requires_grad_() for leaf in leaves)), truth[:, None]))
    return Clip(passes)


def plain_pass(found: DecoderPass, truth: Tensor) -> Tensor:
    """Sums over the objects of focal, dice, IoU and visibility terms."""
    logits = F.interpolate(found.logits, size=truth.shape[-2:], mode='bilinear', align_corners=False)
    target = truth.float().expand_as(logits)
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    of_truth = probability * target + (1 - probability) * (1 - target)
    alpha = SETTINGS.focal_alpha * target + (1 - SETTINGS.focal_alpha) * (1 - target)
    focal = (alpha * (1 - of_truth)**SETTINGS.focal_gamma * entropy).mean((2, 3))
    overlap, areas = (probability * target).sum((2, 3)), probability.sum((2, 3)) + target.sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (areas + 1)
    inside, wanted = logits > 0, target > 0
    union = (inside | wanted).sum((2, 3)).clamp(min=1)
    error = (found.ious - (inside & wanted).sum((2, 3)) / union).abs()
    best = (SETTINGS.loss_mask * focal + SETTINGS.loss_dice * dice).argmin(1, keepdim=True)
    present = truth.flatten(1).any(1, keepdim=True).float()
    visible = F.binary_cross_entropy_with_logits(found.object_scores, present, reduction='none')
    terms = focal.gather(1, best), dice.gather(1, best), error.mean(1, keepdim=True)
    return torch.cat([(term * present).sum()[None] for term in terms] + [visible.sum()[None]])


def backward(clip: Clip, total: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The sums, and the gradients of the weighted total."""
    weights = torch.tensor([float(weight) for weight in SETTINGS.weights])
    return total.detach(), torch.autograd.grad((total * weights).sum(), clip.leaves)


def check(side: int, args) -> str:
    """Compare terms and gradients of both.

    Raises:
        RuntimeError: they differ by more than 1e-4 of the largest.
    """
    clip = make_clip(side, frames=args.frames, objects=args.objects, corrections=args.corrections)
    (mine, my_gradients), (wanted, gradients) = run_ours(clip), run_plain(clip)
    worst = ((mine - wanted).abs() / wanted.abs()).max().item()
    scale = max(gradient.abs().max() for gradient in gradients)
    gap = max(((a - b).abs().max() / scale).item() for a, b in zip(my_gradients, gradients))
    if max(worst, gap) > 1e-4:
        raise RuntimeError(f'the two differ: terms by {worst:.2g}, gradients by {gap:.2g} of the largest.')
    return f'terms within {worst:.0e}, gradients {gap:.0e} of the largest'


def run_ours(clip: Clip) -> tuple[Tensor, list[Tensor]]:
    """Sums and gradients by the model's criterion, as it is by default."""
    criterion = ClipCriterion(SETTINGS)
    return backward(clip, sum(criterion.pass_terms(found, truth) for found, truth in clip.passes))


def run_plain(clip: Clip) -> tuple[Tensor, list[Tensor]]:
    """Sums and gradients by the formulas."""
    return backward(clip, sum(plain_pass(found, truth) for found, truth in clip.passes))


def compare(side: int, args) -> list[Comparison]:
    """Check and measure at one size."""
    note = check(side, args)
    clip = make_clip(side, frames=args.frames, objects=args.objects, corrections=args.corrections)
    sides = {'ours': lambda: run_ours(clip), 'formulas': lambda: run_plain(clip)}
    return compare_sides(f'loss and gradients, {side}x{side}', sides, args, note=note)


def main() -> int:
    """Check, measure and print."""
    arguments = sides_parser(__doc__.splitlines()[0], rounds=5)
    arguments.add_argument('--size', type=int, nargs='+', default=(256, 512), help='sides of the input (256 512)')
    arguments.add_argument('--frames', type=int, default=3, help='frames of the clip (3)')
    arguments.add_argument('--objects', type=int, default=3, help='objects (3)')
    arguments.add_argument('--corrections', type=int, default=7, help='clicks after the first on the first frame (7)')
    args = arguments.parse_args()
    rows = [row for side in args.size for row in compare(side, args)]
    title = (f'Loss of SAM 2, {args.frames} frames, {args.objects} objects, {args.corrections} corrections, forward '
             f'and backward, CPU ({args.clock} seconds)')
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
