"""Training step and inference of our Mask R-CNN R50-FPN against torchvision's on the CPU, at the same size and weights.

    python tools/benchmarks/mask_rcnn_step.py --size 256 320
"""
import argparse
import sys
from collections.abc import Callable

import torch
from benchmark_arguments import compare_sides, finish, image_parser
from torch import Tensor, nn
from torchvision_twin import Sampling, make_scene, make_twins, our_samples, with_run_lengths

from maskforge.analysis.ratio_table import Comparison, RatioTable, machine_line

CLASSES, SIZES = 20, ((256, 320), (512, 640))
NAMES = dict(loss_objectness='loss_rpn_cls', loss_rpn_box_reg='loss_rpn_bbox', loss_classifier='loss_cls',
             loss_box_reg='loss_bbox', loss_mask='loss_mask')


def losses(ours: nn.Module, theirs: nn.Module, images: list[Tensor],
           targets: list[dict], size: tuple[int, int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses of both sides by our names."""
    mine = ours(**ours.data_preprocessor(dict(inputs=images, data_samples=our_samples(targets, size)), True),
                mode='loss')
    want = theirs([image.float() / 255 for image in images], [dict(target) for target in targets])
    return mine, {NAMES[name]: value for name, value in want.items()}


def predictions(ours: nn.Module, theirs: nn.Module, images: list[Tensor], size: tuple[int, int]) -> tuple[list, list]:
    """Predictions of both sides, masks pasted into the image."""
    empty = our_samples([dict(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long),
                              masks=torch.zeros(0, *size, dtype=torch.uint8))] * len(images), size)
    with torch.no_grad():
        return ours.test_step(dict(inputs=images, data_samples=empty)), theirs([i.float() / 255 for i in images])


def check_twins(size: tuple[int, int]) -> str:
    """Compare losses and predictions with sampling made deterministic.

    Raises:
        RuntimeError: they differ by more than 1e-3.
    """
    everything = 10**6
    ours, theirs = make_twins(CLASSES, Sampling(100, everything, everything, 30), size)
    images, targets = make_scene(size, images=1, objects=4)
    train_mode(ours, theirs)
    mine, want = losses(ours, theirs, images, targets, size)
    gap = max(abs(mine[name].item() - value.item()) for name, value in want.items())
    ours.eval(), theirs.eval()
    [found], [expected] = predictions(ours, theirs, images, size)
    found = found.pred_instances
    if len(found) != len(expected['boxes']):
        raise RuntimeError(f'the twins detect {len(found)} and {len(expected["boxes"])} objects: nothing to compare.')
    scores = (found.scores - expected['scores']).abs().max().item()
    boxes = (found.bboxes - expected['boxes']).abs().max().item()
    if max(gap, scores) > 1e-3 or boxes > 1e-2:
        raise RuntimeError(f'the twins differ: losses {gap:.2g}, scores {scores:.2g}, boxes {boxes:.2g} pixels.')
    return f'losses within {gap:.0e}, scores {scores:.0e}, boxes {boxes:.0e} px'


def train_mode(ours: nn.Module, theirs: nn.Module) -> None:
    """Training mode with fixed batch statistics on both sides."""
    ours.train()
    theirs.train()
    theirs.backbone.body.eval()


def step(optimizer: torch.optim.Optimizer, forward: Callable[[], dict[str, Tensor]]) -> None:
    """One training step: losses, gradients, update."""
    optimizer.zero_grad()
    sum(forward().values()).backward()
    optimizer.step()


def compare(size: tuple[int, int], args: argparse.Namespace) -> list[Comparison]:
    """Check and measure at one size."""
    note, where = check_twins(size), f'{args.batch} x {size[0]}x{size[1]}'
    ours, theirs = make_twins(CLASSES, Sampling(), size)
    images, targets = make_scene(size, images=args.batch, objects=args.objects)
    floats, samples = [image.float() / 255 for image in images], our_samples(targets, size)
    ours.eval(), theirs.eval()
    inference = {'ours': lambda: with_run_lengths(ours.test_step(dict(inputs=images, data_samples=samples))),
                 'torchvision': lambda: theirs(floats)}
    with torch.no_grad():
        rows = compare_sides(f'inference with masks, {where}', inference, args, note=note)
    train_mode(ours, theirs)
    optimizers = [torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9) for model in (ours, theirs)]
    training = {
        'ours': lambda: step(optimizers[0], lambda: ours(
            **ours.data_preprocessor(dict(inputs=images, data_samples=samples), True), mode='loss')),
        'torchvision': lambda: step(optimizers[1], lambda: theirs(floats, [dict(t) for t in targets]))}
    return rows + compare_sides(f'training step, {where}', training, args, note=note)


def main() -> int:
    """Check, measure and print."""
    arguments = image_parser(__doc__.splitlines()[0], sizes='256 320 and 512 640', divisor=64)
    args = arguments.parse_args()
    rows = [row for size in args.size or SIZES for row in compare(tuple(size), args)]
    title = f'Mask R-CNN R50-FPN, {args.objects} objects, CPU ({args.clock} seconds)'
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
