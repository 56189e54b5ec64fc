"""Training step of our SAM 2.1 (tiny), and what part of it memory attention takes.

    python tools/benchmarks/sam2_step.py --size 256 512 --frames 4 --objects 2

There is no peer: transformers cannot train it. The step is forward, backward and update with the official fine-tuning's
settings (dropout, prompts, recomputed losses); its prompts are drawn anew for every step. The calls of memory attention
in one step are run again alone, forward and backward, on what they were given.
"""
import sys
from collections.abc import Callable

import numpy as np
import torch
from benchmark_arguments import finish, parser, timing
from torch import Tensor, nn

from maskforge.analysis.peak_memory import peak_memory
from maskforge.analysis.ratio_table import Comparison, RatioTable, compare_seconds, machine_line, time_in_turns
from maskforge.registry import MODELS
from maskforge.structures import ClipSample

#: how the clip's first frame is prompted: probabilities of points, and of a box among them
PROMPTS = dict(mask=(0., 0.), click=(1., 0.))


def make_model(side: int, prompt: str) -> nn.Module:
    """As configs/sam2/sam2.1_hiera-t_mose-finetune.py, with one kind of prompt and one prompted frame."""
    torch.manual_seed(0)
    points, boxes = PROMPTS[prompt]
    return MODELS.build(dict(
        type='SAM2', network=dict(arch='tiny', image_size=side, drop_path_rate=0.1),
        prompts=dict(prob_to_use_pt_input_for_train=points, prob_to_use_box_input_for_train=boxes,
                     num_init_cond_frames_for_train=1, num_frames_to_correct_for_train=1))).train()


def make_batch(side: int, *, frames: int, objects: int) -> dict:
    """One clip of noise with ellipses that move."""
    y, x = np.mgrid[:side, :side]
    masks = np.stack([[(x - side * (0.3 + 0.1 * one + 0.02 * frame))**2 + 2 * (y - side / 2)**2 < (side / 5)**2
                       for one in range(objects)] for frame in range(frames)])
    sample = ClipSample(metainfo=dict(video_name='drawn', source='drawn'))
    sample.gt_masks = torch.from_numpy(masks)
    return dict(inputs=[torch.randint(0, 256, (frames, 3, side, side), dtype=torch.uint8)], data_samples=[sample])


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict) -> None:
    """Losses, gradients, clipped, update; the same prompts at every call."""
    model.generator = np.random.default_rng(0)
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    optimizer.zero_grad()
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()


def recorded_calls(model: nn.Module, run: Callable[[], object]) -> list[tuple[tuple, dict]]:
    """What memory attention is given while ``run()`` runs."""
    calls = []
    handle = model.network.memory_attention.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(([copied(arg) for arg in args], kwargs)), with_kwargs=True)
    run()
    handle.remove()
    return calls


def copied(value: Tensor) -> Tensor:
    """A leaf with the same numbers."""
    return value.detach().clone().requires_grad_()


def replay(model: nn.Module, calls: list[tuple[tuple, dict]]) -> None:
    """The calls again, forward and backward."""
    for args, kwargs in calls:
        model.network.memory_attention(*args, **kwargs).sum().backward()


def measure(side: int, prompt: str, args) -> Comparison:
    """The step, and memory attention in it."""
    model, batch = make_model(side, prompt), make_batch(side, frames=args.frames, objects=args.objects)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    calls = recorded_calls(model, lambda: step(model, optimizer, batch))
    seconds = time_in_turns({'whole step': lambda: step(model, optimizer, batch),
                             'memory attention': lambda: replay(model, calls)}, **timing(args))
    memory = peak_memory(lambda: step(model, optimizer, batch))
    row = compare_seconds(f'memory attention, {side}x{side}, first frame by {prompt}', seconds,
                          ours='memory attention', peer='whole step')
    return Comparison(**{**vars(row), 'note': f'{row.ours / row.peer:.0%} of a step, which needs {memory:.0f} MiB'})


def main() -> int:
    """Measure and print."""
    arguments = parser(__doc__.splitlines()[0], rounds=3)
    arguments.add_argument('--size', type=int, nargs='+', default=(256, 512), help='sides of the frames (256 512)')
    arguments.add_argument('--frames', type=int, default=3, help='frames of the clip (3)')
    arguments.add_argument('--objects', type=int, default=2, help='objects (2)')
    args = arguments.parse_args()
    rows = [measure(side, prompt, args) for side in args.size for prompt in PROMPTS]
    title = f'Training step of SAM 2.1 tiny, a clip of {args.frames} frames and {args.objects} objects, CPU'
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
