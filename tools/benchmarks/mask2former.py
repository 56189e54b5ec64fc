"""Our Mask2Former with Swin against transformers' at the same weights: inference and training step, time and memory.

    python tools/benchmarks/mask2former.py --size 512 512 --objects 40

Both sides run in float32 on the CPU and train every layer's losses. Needs ``pip install transformers``.
"""
import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from benchmark_arguments import compare_sides, finish, image_parser
from deformable_detr import step, sum_of
from torch import Tensor, nn
from torchvision_twin import MEAN, STD, make_scene, our_samples, with_run_lengths

from maskforge.analysis.ratio_table import Comparison, RatioTable, machine_line
from maskforge.backbones.swin import ARCHS
from maskforge.models.mask2former import HuggingFaceMask2FormerLayout
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample

CLASSES, SIZES = 80, ((256, 320), (512, 512))
#: transformers resizes masks to this side before it reads them, whatever the size of the image
THEIR_SIDE = 384


def make_twins(arch: str, queries: int) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs with the same random weights; nothing is dropped."""
    theirs = their_model(arch, queries)
    ours = MODELS.build(dict(
        type='Mask2Former', backbone=dict(type='SwinTransformer', arch=arch, drop_path_rate=0.), num_classes=CLASSES,
        num_queries=queries, mode='instance',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=MEAN, std=STD, pad_size_divisor=32, pad_mask=True)))
    ours.load_state_dict(HuggingFaceMask2FormerLayout().to_ours(theirs.state_dict(), ours))
    return ours, theirs


def their_model(arch: str, queries: int) -> nn.Module:
    """From a config, nothing is downloaded; their count of decoder layers is that of the predictions."""
    import transformers
    torch.manual_seed(0)
    known = ARCHS[arch]
    backbone = transformers.SwinConfig(
        embed_dim=known.embed_dims, depths=list(known.depths), num_heads=list(known.num_heads),
        window_size=known.window_size, drop_path_rate=0., out_features=['stage1', 'stage2', 'stage3', 'stage4'])
    return transformers.Mask2FormerForUniversalSegmentation(transformers.Mask2FormerConfig(
        backbone_config=backbone, num_labels=CLASSES, num_queries=queries, use_auxiliary_loss=True))


class Scene:
    """Images and targets as both sides take them.

    Attributes:
        images: normalised, (B, 3, H, W).
        samples: for ours.
        labels: for theirs.
    """

    def __init__(self, preprocess: nn.Module, size: tuple[int, int], *, batch: int, objects: int) -> None:
        pictures, targets = make_scene(size, images=batch, objects=objects)
        data = preprocess(dict(inputs=pictures, data_samples=our_samples(targets, size)), True)
        self.images: Tensor = data['inputs']
        self.samples: list[DetDataSample] = data['data_samples']
        self.labels = dict(mask_labels=[target['masks'].float() for target in targets],
                           class_labels=[target['labels'] - 1 for target in targets])


@contextmanager
def same_points() -> Iterator[None]:
    """Inside, random points depend on their number alone, whoever draws them in whichever order."""
    def draw(batch: int, count: int, two: int, *, device=None) -> Tensor:
        generator = torch.Generator().manual_seed(count)
        return torch.empty(1, count, two).uniform_(generator=generator).repeat(batch, 1, 1)
    with mock.patch.object(torch, 'rand', draw):
        yield


def check_twins(ours: nn.Module, theirs: nn.Module, scene: Scene) -> str:
    """Compare the last layer's outputs, and the losses of all layers.

    Raises:
        RuntimeError: logits differ by more than 1e-3 of the largest, or the losses by more than 1e-3 of their sum.
    """
    ours.eval(), theirs.eval()
    with torch.no_grad(), same_points():
        found, wanted = ours.run(scene.images), theirs(scene.images)
        mine = sum_of(ours(scene.images, scene.samples, mode='loss')).item()
        loss = theirs(scene.images, **scene.labels).loss.item()
    gaps = [((one - other).abs().max() / other.abs().max()).item()
            for one, other in ((found.class_logits[-1], wanted.class_queries_logits),
                               (found.mask_logits(), wanted.masks_queries_logits))]
    if max(gaps) > 1e-3 or abs(mine - loss) > 1e-3 * loss:
        raise RuntimeError(f'the twins differ: classes {gaps[0]:.2g}, masks {gaps[1]:.2g} of the largest, losses '
                           f'{mine:.6g} and {loss:.6g}.')
    return (f'classes within {gaps[0]:.0e}, masks {gaps[1]:.0e} of the largest, loss {abs(mine - loss) / loss:.0e} '
            f'of itself')


def inference_rows(ours: nn.Module, theirs: nn.Module, scene: Scene, args: argparse.Namespace, note: str,
                   where: str) -> list[Comparison]:
    """Classes and masks at a quarter of the size; then instances, which have no equal outputs to check."""
    from transformers import Mask2FormerImageProcessor
    read = Mask2FormerImageProcessor().post_process_instance_segmentation
    sizes = [sample.ori_shape for sample in scene.samples]
    heads = {'ours': lambda: ours.run(scene.images).mask_logits(), 'transformers': lambda: theirs(scene.images)}
    instances = {'ours': lambda: with_run_lengths(ours(scene.images, scene.samples, mode='predict')),
                 'transformers': lambda: read(theirs(scene.images), threshold=0., target_sizes=sizes,
                                              return_coco_annotation=True)}
    with torch.no_grad():
        return [*compare_sides(f'inference, {where}', heads, args, note=note),
                *compare_sides(f'inference to instances as RLE, {where}', instances, args,
                               note=f'as above; masks of theirs by way of {THEIR_SIDE}x{THEIR_SIDE}')]


def training_rows(ours: nn.Module, theirs: nn.Module, scene: Scene, args: argparse.Namespace, note: str,
                  where: str) -> list[Comparison]:
    """Matching, losses, gradients and update."""
    ours.train(), theirs.train()
    # a rate of zero: every step sees the same weights; fused is what transformers' trainer takes
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0., weight_decay=0.05, fused=True)
                  for model in (ours, theirs)]
    training = {
        'ours': lambda: step(ours, optimizers[0], sum_of(ours(scene.images, scene.samples, mode='loss'))),
        'transformers': lambda: step(theirs, optimizers[1], theirs(scene.images, **scene.labels).loss)}
    return compare_sides(f'training step, {where}', training, args, note=note)


def compare(size: tuple[int, int], args: argparse.Namespace) -> list[Comparison]:
    """Check and measure at one size."""
    ours, theirs = make_twins(args.arch, args.queries)
    scene = Scene(ours.data_preprocessor, size, batch=args.batch, objects=args.objects)
    note, where = check_twins(ours, theirs, scene), f'{args.batch} x {size[0]}x{size[1]}'
    rows = inference_rows(ours, theirs, scene, args, note, where)
    return rows if args.inference_only else rows + training_rows(ours, theirs, scene, args, note, where)


def main() -> int:
    """Check, measure and print."""
    arguments = image_parser(__doc__.splitlines()[0], sizes='256 320 and 512 512', divisor=32)
    arguments.add_argument('--arch', choices=ARCHS, default='tiny', help='of the Swin backbone (tiny)')
    arguments.add_argument('--queries', type=int, default=100, help='of the decoder (100)')
    arguments.add_argument('--inference-only', action='store_true', help='no training step')
    args = arguments.parse_args()
    rows = [row for size in args.size or SIZES for row in compare(tuple(size), args)]
    title = f'Mask2Former Swin-{args.arch}, {args.queries} queries, {args.objects} objects, CPU ({args.clock} seconds)'
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
