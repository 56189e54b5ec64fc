"""``maskforge infer MODEL INPUTS...``."""
import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from . import label, track
from .arguments import add_key_file, add_options, add_processes
from .errors import run_verb
from .processes import start_processes
from .run_config import is_first_process

_TIMEOUT_SECONDS = 7 * 24 * 3600


def parser() -> argparse.ArgumentParser:
    """What predicts, on what, and where results go."""
    parser = argparse.ArgumentParser(prog='maskforge infer', description=(
        'Predict images: drawn pictures and one COCO JSON; panoptic segments and semantic maps as PNGs. An interrupted '
        'job goes on where it stopped.'), epilog=(
        'A model that labels boxes (MAL) takes no images but --ann-file, --img-dir and --out (or inference.ann_path, '
        'img_dir and label_dump_path among --cfg-options), and the other flags of maskforge label. SAM 2 takes images '
        '(masks of everything), these flags, or a video with --prompts or --first-masks: see maskforge track.'))
    parser.add_argument('model', help='config, checkpoint of maskforge, or .onnx file')
    parser.add_argument('inputs', nargs='*', help='images, folders, patterns (none for a model that labels boxes: see '
                        'maskforge label)')
    parser.add_argument('--weights', metavar='FILE', help="checkpoint for a config (default: the config's load_from)")
    parser.add_argument('--out-dir', '--work-dir', metavar='DIR', dest='out_dir',
                        help='folder of predictions.json, vis/, labels/, panoptic.json, panoptic/, semantic/ (default: '
                        'work_dirs/<model name>/predictions)')
    parser.add_argument('--out', metavar='FILE.json', help='write the predictions there too')
    parser.add_argument('--show-dir', metavar='DIR', help='write the drawn pictures there too')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images per forward pass (default: 1)')
    parser.add_argument('--device', help='cpu, cuda:1 ... (default: a GPU where there is one)')
    parser.add_argument('--score-thr', type=float, default=0.3, metavar='S', help='draw from this score on (0.3)')
    parser.add_argument('--min-score', type=float, default=0.0, metavar='S', help='write from this score on (0)')
    parser.add_argument('--conf-threshold', type=float, metavar='S',
                        help='in place of both: objects with a lower score appear nowhere')
    parser.add_argument('--labels', action='store_true', help='write KITTI label files (16 columns) to labels/')
    parser.add_argument('--classmap', metavar='FILE', help="class names, one a line, in place of the model's")
    parser.add_argument('--color-map', nargs='+', metavar='CLASS=COLOUR', help='draw only these classes, in these '
                        "colours (names, #rrggbb or r,g,b), for example 'person=red' 'car=0,255,0'; or a JSON file")
    parser.add_argument('--outline-width', type=int, metavar='PIXELS', help='width of the boxes that are drawn')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation by tta_model and tta_pipeline')
    parser.add_argument('--min-side', type=int, default=0, metavar='PIXELS',
                        help='enlarge smaller pictures to this shorter side for drawing')
    parser.add_argument('--no-images', action='store_true', help='only the JSON, no pictures')
    parser.add_argument('--restart', action='store_true', help='forget an interrupted job in the folder')
    add_processes(parser)
    add_options(parser)
    add_key_file(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Predict; return the exit code. Boxes are handed to ``maskforge label``, videos to ``maskforge track``."""
    words = sys.argv[1:] if argv is None else argv
    for verb in (label, track):
        if any(word.split('=')[0] in verb.FLAGS for word in words):
            return verb.main(list(words))
    return run_verb(parser(), lambda args: _infer(args, list(words)), argv)


def _infer(args: argparse.Namespace, words: list[str]) -> int:
    if args.no_images and args.show_dir:
        raise ValueError('--show-dir asks for pictures and --no-images for none: give one of them')
    model = _model(args)
    if not args.inputs:
        return label.main(words) if _labels_boxes(model) else _no_images(args)
    if not isinstance(model, str) and _labels_boxes(model):
        raise ValueError(f'{args.model} makes masks for boxes, not for whole images: give --ann-file BOXES.json and '
                         f'--img-dir DIR instead of {args.inputs[0]}')
    _join_processes(args, words)
    out_dir = Path(args.out_dir or Path('work_dirs') / Path(args.model).stem / 'predictions')
    from maskforge.inference import run_inference
    path = run_inference(model, args.inputs, weights=args.weights, out_dir=out_dir, batch_size=args.batch_size,
                         device=args.device, score_thr=args.score_thr, min_score=args.min_score,
                         save_images=not args.no_images, min_side=args.min_side, resume=not args.restart,
                         conf_threshold=args.conf_threshold, labels=args.labels, classmap=args.classmap,
                         color_map=_color_map(args.color_map), outline_width=args.outline_width, tta=args.tta)
    if is_first_process():
        _copy_results(args, path, out_dir)
    return 0


def _join_processes(args: argparse.Namespace, words: list[str]) -> None:
    """Start the processes that the flags ask for, or join those that a launcher started."""
    start_processes(args, 'infer', words)
    if args.launcher != 'none':
        from maskforge.engine.distributed import init_dist
        # a fast process waits at the end for the slowest
        for note in init_dist(args.launcher, timeout=_TIMEOUT_SECONDS):
            print(f'maskforge: {note}', file=sys.stderr)


def _color_map(words: list[str] | None) -> dict[str, Any] | None:
    """``class=colour`` words, or the JSON file that is named instead."""
    if words is None:
        return None
    if len(words) == 1 and '=' not in words[0]:
        return json.loads(Path(words[0]).read_text(encoding='utf-8'))
    found = {}
    for word in words:
        name, equals, color = word.rpartition('=')
        if not equals or not name:
            raise ValueError(f"--color-map {word!r}: give CLASS=COLOUR, for example 'person=red' or 'car=0,255,0'")
        parts = color.split(',')
        found[name] = [int(part) for part in parts] if len(parts) == 3 and ''.join(parts).isdigit() else color
    return found


def _copy_results(args: argparse.Namespace, path: Path, out_dir: Path) -> None:
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, args.out)
    if args.show_dir:
        shutil.copytree(out_dir / 'vis', args.show_dir, dirs_exist_ok=True)


def _labels_boxes(model: Any) -> bool:
    """Whether a config, or the one inside a checkpoint, is of a model for ``maskforge label``."""
    if isinstance(model, str):
        if model.endswith('.onnx'):
            return False
        from maskforge.inference.load_model import checkpoint_config
        model = checkpoint_config(model)
    return 'label_cfg' in model or (model.get('model') or {}).get('type') == 'MAL'


def _no_images(args: argparse.Namespace) -> int:
    raise ValueError(f'name images, folders or patterns: maskforge infer {args.model} IMAGES...')


def _model(args: argparse.Namespace) -> Any:
    """The path as given, or the config with its options applied."""
    if not label.is_config(args.model) and args.cfg_options:
        raise ValueError(f'--cfg-options change a config, but {args.model} is a model file; give the config and '
                         f'--weights {args.model}')
    if not label.is_config(args.model):
        if not Path(args.model).exists():
            raise FileNotFoundError(f'model {args.model} does not exist')
        return args.model
    from maskforge.config import load_config
    return load_config(args.model, options=args.cfg_options)


if __name__ == '__main__':
    sys.exit(main())
