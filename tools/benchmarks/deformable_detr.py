"""Our Deformable DETR R50 against transformers' at the same weights: inference and training step, in turns.

    python tools/benchmarks/deformable_detr.py --size 512 640 --variant refine

Both sides run in float32 on the CPU and train every layer's losses. Needs ``pip install transformers``.
"""
import argparse
import copy
import sys

import torch
from benchmark_arguments import compare_sides, finish, image_parser
from mmengine.structures import InstanceData
from torch import Tensor, nn

from maskforge.analysis.ratio_table import Comparison, RatioTable, machine_line
from maskforge.models.deformable_detr import HuggingFaceDeformableDETRLayout
from maskforge.models.deformable_detr.criterion import normalised_boxes
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample

CLASSES, SIZES = 91, ((256, 320), (512, 640))
VARIANTS = {'base': {}, 'refine': dict(with_box_refine=True), 'two-stage': dict(with_box_refine=True, two_stage=True)}


def make_twins(variant: str) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs with the same random weights and no dropout."""
    theirs = their_model(VARIANTS[variant])
    ours = MODELS.build(dict(
        type='DeformableDETR', backbone=dict(type='ResNet', depth=50, frozen_stages=1, norm_cfg=dict(type='FrozenBN')),
        num_classes=CLASSES, dropout_ratio=0.0, cls_loss_coef=1., set_cost_class=1., **VARIANTS[variant]))
    ours.load_state_dict(HuggingFaceDeformableDETRLayout().to_ours(theirs.state_dict(), ours))
    return ours, theirs


def their_model(options: dict) -> nn.Module:
    """From a config, nothing is downloaded; heads of their own with refinement, as in its published files."""
    import transformers
    torch.manual_seed(0)
    backbone = transformers.TimmBackboneConfig(backbone='resnet50', out_indices=[2, 3, 4],
                                               use_pretrained_backbone=False)
    model = transformers.DeformableDetrForObjectDetection(transformers.DeformableDetrConfig(
        backbone_config=backbone, num_labels=CLASSES, auxiliary_loss=True, dropout=0.0, **options))
    if options:
        for kind in ('class_embed', 'bbox_embed'):
            heads = nn.ModuleList(copy.deepcopy(head) for head in getattr(model, kind))
            setattr(model, kind, heads)
            if getattr(model.model.decoder, kind) is not None:
                setattr(model.model.decoder, kind, heads)
    with torch.no_grad():  # published networks do not see exploding activations
        for name, parameter in model.named_parameters():
            if '.backbone.' in name and parameter.ndim > 1:
                parameter.normal_(0, (1 / parameter[0].numel())**0.5)
    return model


def make_scene(size: tuple[int, int], *, batch: int, objects: int) -> tuple[Tensor, list[DetDataSample]]:
    """Noise and random boxes."""
    height, width = size
    images, samples = torch.randn(batch, 3, height, width), []
    for _ in range(batch):
        corner, side = torch.rand(objects, 2) * 0.6, torch.rand(objects, 2) * 0.35 + 0.02
        boxes = torch.cat((corner, corner + side), 1) * torch.tensor([width, height, width, height])
        samples.append(DetDataSample(metainfo=dict(img_shape=size, ori_shape=size), gt_instances=InstanceData(
            bboxes=boxes, labels=torch.randint(CLASSES, (objects,)))))
    return images, samples


def their_labels(samples: list[DetDataSample]) -> list[dict[str, Tensor]]:
    """The targets as transformers takes them."""
    return [dict(class_labels=one.gt_instances.labels, boxes=normalised_boxes(one)) for one in samples]


def check_twins(ours: nn.Module, theirs: nn.Module, images: Tensor, samples: list[DetDataSample]) -> str:
    """Compare the outputs and the losses of the decoder.

    Raises:
        RuntimeError: logits or boxes differ by more than 1e-4, or the losses by more than 1e-3 of their sum.
    """
    ours.eval(), theirs.eval()
    with torch.no_grad():
        found, wanted = ours(images, samples, mode='tensor'), theirs(images)
        mine = sum_of(ours(images, samples, mode='loss'), encoder=False).item()
        loss = theirs(images, labels=their_labels(samples)).loss.item()
    logits = (found.logits[-1] - wanted.logits).abs().max().item()
    boxes = (found.boxes_cxcywh[-1] - wanted.pred_boxes).abs().max().item()
    if max(logits, boxes) > 1e-4 or abs(mine - loss) > 1e-3 * loss:
        raise RuntimeError(f'the twins differ: logits {logits:.2g}, boxes {boxes:.2g}, losses {mine:.6g} and '
                           f'{loss:.6g}.')
    return f'logits within {logits:.0e}, boxes {boxes:.0e}, loss {abs(mine - loss) / loss:.0e} of itself'


def sum_of(losses: dict[str, Tensor], *, encoder: bool = True) -> Tensor:
    """The total; transformers has no losses of the encoder."""
    return sum(value for name, value in losses.items()
               if name.startswith('loss') and (encoder or not name.endswith('_enc')))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, total: Tensor) -> None:
    """Gradients, clipped as in the paper's recipe, and the update."""
    optimizer.zero_grad()
    total.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()


def compare(size: tuple[int, int], args: argparse.Namespace) -> list[Comparison]:
    """Check and measure at one size."""
    ours, theirs = make_twins(args.variant)
    images, samples = make_scene(size, batch=args.batch, objects=args.objects)
    labels, note = their_labels(samples), check_twins(ours, theirs, images, samples)
    where = f'{args.batch} x {size[0]}x{size[1]}'
    inference = {'ours': lambda: ours(images, samples, mode='predict'), 'transformers': lambda: theirs(images)}
    with torch.no_grad():
        rows = compare_sides(f'inference, {where}', inference, args, note=note)
    ours.train(), theirs.train()
    # a rate of zero: every step sees the same weights
    optimizers = [torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=0., weight_decay=1e-4)
                  for model in (ours, theirs)]
    training = {
        'ours': lambda: step(ours, optimizers[0], sum_of(ours(images, samples, mode='loss'))),
        'transformers': lambda: step(theirs, optimizers[1], theirs(images, labels=labels).loss)}
    return rows + compare_sides(f'training step, {where}', training, args, note=note)


def main() -> int:
    """Check, measure and print."""
    arguments = image_parser(__doc__.splitlines()[0], sizes='256 320 and 512 640')
    arguments.add_argument('--variant', choices=VARIANTS, default='base', help='of the model (base)')
    args = arguments.parse_args()
    rows = [row for size in args.size or SIZES for row in compare(tuple(size), args)]
    title = f'Deformable DETR R50 ({args.variant}), {args.objects} objects, CPU ({args.clock} seconds)'
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
