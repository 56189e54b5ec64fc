"""Our SAM 2.1 (tiny) against transformers' on the same videos at the same weights: seconds per frame and peak memory.

    python tools/benchmarks/sam2_video.py --size 256 512 --objects 3 --prompt mask

Both sides run in float32 on the CPU, keep memories in bfloat16 and harden prompted masks in memory, as transformers
always does. Needs ``pip install transformers``.
"""
import argparse
import sys

import torch
from benchmark_arguments import compare_sides, finish, sides_parser
from sam2_twins import Video, make_twins, make_video, our_masks, their_masks
from torch import Tensor

from maskforge.analysis.ratio_table import Comparison, RatioTable, machine_line
from maskforge.models.sam2.video_predictor import VideoPredictor


def check(ours: list[Tensor], theirs: list[Tensor]) -> str:
    """Compare the masks of all frames.

    Raises:
        RuntimeError: more than 1 of 1000 pixels differ, or there is nothing to compare.
    """
    mine, wanted = torch.stack(ours), torch.stack(theirs)
    part = (wanted > 0).float().mean().item()
    if not 0.01 < part < 0.99:
        raise RuntimeError(f'{part:.2%} of the pixels are inside: nothing to compare.')
    differ = ((mine > 0) != (wanted > 0)).float().mean().item()
    gap = ((mine - wanted).abs().max() / wanted.abs().max()).item()
    if differ > 1e-3:
        raise RuntimeError(f'the twins differ in {differ:.2%} of the pixels, logits by up to {gap:.2g} of the largest.')
    return f'{differ:.3%} of pixels differ, logits within {gap:.0e} of the largest; {part:.0%} inside'


def compare(side: int, video: Video, args: argparse.Namespace) -> list[Comparison]:
    """Check and measure at one size."""
    ours, theirs = make_twins(side)
    predictor = VideoPredictor(ours, binarize_prompted=True, memory_dtype='bfloat16')
    sides = {'ours': lambda: our_masks(predictor, video),
             'transformers': lambda: their_masks(theirs, predictor, video)}
    note = check(*(run() for run in sides.values()))
    return compare_sides(f'seconds per frame, {side}x{side}', sides, args, note=note, warmup=0, per=len(video.frames))


def main() -> int:
    """Check, measure and print."""
    arguments = sides_parser(__doc__.splitlines()[0], rounds=3)
    arguments.add_argument('--size', type=int, nargs='+', default=(256, 512), help="sides of the frames (256 512)")
    arguments.add_argument('--frames', type=int, default=10, help='frames of a video (10)')
    arguments.add_argument('--objects', type=int, default=1, help='objects (1)')
    arguments.add_argument('--prompt', choices=('click', 'mask'), default='click', help='on the first frame (click)')
    args = arguments.parse_args()
    rows = []
    for side in args.size:
        video = make_video(side, frames=args.frames, objects=args.objects, prompt=args.prompt)
        rows += compare(side, video, args)
    title = (f'SAM 2.1 tiny, video of {args.frames} frames, {args.objects} objects, first frame by {args.prompt}, '
             f'CPU ({args.clock} seconds)')
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
