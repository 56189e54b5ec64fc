"""Training steps (losses, gradients, AdamW) of all families with and without torch.compile, in each precision.

    python tools/benchmarks/training_steps.py --device cuda --dtype float32 bfloat16
    python tools/benchmarks/training_steps.py --device cpu --small --families "SAM 2" --backend aot_eager

``compile`` is the config's switch: the pieces that each family names. bfloat16 is autocast. Losses of the same random
numbers must agree before anything is measured.
"""
import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from benchmark_arguments import finish, finished, parser, timing
from deformable_detr import sum_of
from growing_models import CLASSES, FAMILIES
from sam2_step import make_batch
from torch import nn
from torchvision_twin import make_scene, our_samples

from maskforge.analysis.ratio_table import Comparison, RatioTable, compare_seconds, machine_line, time_in_turns
from maskforge.engine.model_preparation import compile_modules
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample

#: by how much losses may differ, relatively
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
#: side of the images and how many, of a whole run and of a small one
SIZES = {'Deformable DETR': ((800, 2), (128, 1)), 'Mask2Former': ((512, 4), (128, 1)),
         'Mask R-CNN': ((800, 2), (128, 1)), 'MAL': ((512, 4), (64, 1)), 'SAM 2': ((512, 1), (128, 1))}


def detection(family: str, side: int, images: int) -> tuple[dict, dict]:
    """Config and batch of a family that takes whole images: 7 objects each, ResNet-50."""
    config = FAMILIES[family](100)
    config['backbone'] = {**config['backbone'], 'depth': 50}
    if 'neck' in config:
        config['neck']['in_channels'] = [256, 512, 1024, 2048]
    pictures, targets = make_scene((side, side), images=images, objects=7)
    return config, dict(inputs=pictures, data_samples=our_samples(targets, (side, side)))


def box_crops(side: int, images: int) -> tuple[dict, dict]:
    """MAL with a ViT-B on crops of noise whose boxes fill three quarters."""
    meta = dict(box_in_crop=(side / 8, side / 8, side * 7 / 8, side * 7 / 8), box_area=side**2 / 4)
    crops = [torch.randint(0, 256, (3, side, side), dtype=torch.uint8) for _ in range(images)]
    return (dict(type='MAL', arch='vit-mae-base/16', backbone=dict(img_size=side)),
            dict(inputs=crops, data_samples=[DetDataSample(metainfo=meta) for _ in crops]))


def clips(side: int, images: int) -> tuple[dict, dict]:
    """SAM 2.1 (tiny) on clips of four frames with two objects, first frames by clicks."""
    prompts = dict(prob_to_use_pt_input_for_train=1., prob_to_use_box_input_for_train=0.,
                   num_init_cond_frames_for_train=1, num_frames_to_correct_for_train=1)
    one = make_batch(side, frames=4, objects=2)
    return (dict(type='SAM2', network=dict(arch='tiny', image_size=side), prompts=prompts),
            {key: value * images for key, value in one.items()})


WORK = {**{family: partial(detection, family) for family in FAMILIES}, 'MAL': box_crops, 'SAM 2': clips}


def make_model(config: dict, device: str, compiled: dict | None) -> nn.Module:
    """The same weights at every call."""
    torch.manual_seed(0)
    model = MODELS.build(config).to(device).train()
    compile_modules(model, compiled)
    return model


def make_losses(model: nn.Module, batch: dict, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """The sum of the losses with the same random numbers at every call."""
    state = model.random_state() if hasattr(model, 'random_state') else None

    def losses() -> torch.Tensor:
        torch.manual_seed(1)
        if state is not None:
            model.set_random_state(state)
        device = next(model.parameters()).device.type
        with torch.autocast(device, dtype) if dtype != torch.float32 else nullcontext():
            return sum_of(model(**model.data_preprocessor(dict(batch), True), mode='loss'))
    return losses


def make_step(model: nn.Module, losses: Callable[[], torch.Tensor], device: str) -> Callable[[], None]:
    """Losses, gradients, update."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-7,
                                  fused=device == 'cuda')

    def step() -> None:
        optimizer.zero_grad()
        losses().backward()
        optimizer.step()
    return step


def measure(family: str, dtype: torch.dtype, args: argparse.Namespace) -> Comparison:
    """Steps of one family in one precision, compiled and not."""
    side, images = SIZES[family][args.small]
    config, batch = WORK[family](side, images)
    steps, values = {}, {}
    for name, compiled in (('plain', None), ('compiled', dict(backend=args.backend))):
        model = make_model(config, args.device, compiled)
        losses = make_losses(model, batch, dtype)
        values[name] = losses().item()
        steps[name] = finished(make_step(model, losses, args.device), args.device)
    error = abs(values['compiled'] - values['plain']) / abs(values['plain'])
    if not error < TOLERANCES[dtype]:
        raise RuntimeError(f'{family}, {dtype}: the losses differ: {values}')
    seconds = time_in_turns(steps, warmup=2, **timing(args))
    what = f'{family}, {images} x {side}x{side}, {str(dtype).removeprefix("torch.")}'
    return compare_seconds(what, seconds, ours='compiled', peer='plain', images=images,
                           note=f'losses within {error:.0e}')


def main() -> int:
    """Check, measure and print."""
    arguments = parser(__doc__.splitlines()[0], rounds=5)
    arguments.add_argument('--device', choices=('cpu', 'cuda'), default='cuda' if torch.cuda.is_available() else 'cpu')
    arguments.add_argument('--dtype', nargs='+', choices=('float32', 'bfloat16'), default=['float32'])
    arguments.add_argument('--families', nargs='+', choices=WORK, default=list(WORK), metavar='NAME',
                           help=f'of {", ".join(WORK)}')
    arguments.add_argument('--small', action='store_true', help='small images, to see that it runs')
    arguments.add_argument('--backend', default='inductor', help='of torch.compile (inductor)')
    args = arguments.parse_args()
    rows = [measure(family, getattr(torch, dtype), args) for family in args.families for dtype in args.dtype]
    title = f'Training steps with torch.compile ({args.backend}) against without, {CLASSES} classes, {args.device}'
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
