"""``maskforge track MODEL VIDEO --prompts FILE.json``."""
import argparse
import sys
from pathlib import Path

from .arguments import add_key_file, add_options
from .errors import run_verb
from .label import load_label_model

#: flags that only this verb has; ``maskforge infer`` hands over when it sees one
FLAGS = ('--prompts', '--first-masks')


def parser() -> argparse.ArgumentParser:
    """What follows which objects through which video, and where the result goes."""
    parser = argparse.ArgumentParser(prog='maskforge track', description=(
        'Follow objects through a video (SAM 2): masks as PNGs, drawn frames.'))
    parser.add_argument('model', help='config, or checkpoint of maskforge')
    parser.add_argument('video', help='video file, or folder of frames')
    parser.add_argument('--prompts', metavar='FILE.json', help='[{"object": 1, "frame": 0, "points": [[x, y]], '
                        '"labels": [1]}, {"object": 2, "frame": 5, "box": [x0, y0, x1, y1]}, ...]; pixels of frames')
    parser.add_argument('--first-masks', metavar='PNG', help='PNG with object ids of the first frame, or a folder of '
                        'such PNGs named as their frames (objects join on the first that shows them)')
    parser.add_argument('--weights', metavar='FILE', help="checkpoint for a config (default: the config's load_from)")
    parser.add_argument('--out-dir', metavar='DIR', help='folder of masks/ and vis/ (default: '
                        'work_dirs/<model name>/<video name>)')
    parser.add_argument('--layout', choices=('palette', 'objects'), default='palette',
                        help='one PNG per frame with object ids, or one folder per object (default: palette)')
    parser.add_argument('--max-frames', type=int, metavar='N', help='stop after so many frames')
    parser.add_argument('--both-ways', action='store_true', help='follow objects backwards from their prompts, too')
    parser.add_argument('--no-images', action='store_true', help='only the masks, no drawn frames')
    parser.add_argument('--objects-per-batch', type=int, default=16, metavar='N', help='bounds the memory (16)')
    parser.add_argument('--memory-dtype', choices=('bfloat16', 'float16', 'float32'), help='type that memories are '
                        'kept in (default: as computed)')
    parser.add_argument('--mask-threshold', type=float, default=0., metavar='LOGIT', help='inside above it (0)')
    parser.add_argument('--score-threshold', type=float, default=0., metavar='P', help='objects that are less likely '
                        'to be seen have no mask in a frame (0)')
    parser.add_argument('--apply-postprocessing', action='store_true', help='as the released demo: fill small holes, '
                        'replace unstable masks, remember prompted masks as hard ones')
    parser.add_argument('--device', help='cpu, cuda:1 ... (default: a GPU where there is one)')
    add_options(parser)
    add_key_file(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Follow; return the exit code."""
    return run_verb(parser(), _track, argv)


def _track(args: argparse.Namespace) -> int:
    cfg, weights = load_label_model(args)
    from maskforge.inference.video_job import track_video
    settings = {name: getattr(args, name) for name in ('objects_per_batch', 'memory_dtype', 'mask_threshold',
                                                       'score_threshold')}
    if args.apply_postprocessing:
        settings.update(fill_hole_area=8, dynamic_multimask=True, binarize_prompted=True)
    out_dir = args.out_dir or Path('work_dirs') / Path(args.model).stem / Path(args.video).stem
    folder = track_video(cfg, args.video, out_dir, prompts=args.prompts, first_masks=args.first_masks, weights=weights,
                         device=args.device, layout=args.layout, save_images=not args.no_images,
                         max_frames=args.max_frames, both_ways=args.both_ways, **settings)
    print(f'masks: {folder}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
