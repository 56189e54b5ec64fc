"""``maskforge label MODEL --ann-file BOXES.json --img-dir IMAGES --out LABELS.json``."""
import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_key_file, add_options, add_processes, existing_checkpoint
from .errors import run_verb
from .processes import start_processes

if TYPE_CHECKING:
    from maskforge.config import Config

#: flags that only this verb has; ``maskforge infer`` hands over when it sees one
FLAGS = ('--ann-file', '--ann-path', '--img-dir', '--images-json', '--label-dump-path')
_SETTINGS = ('ann_file', 'img_dir', 'images_json', 'out', 'batch_size', 'num_workers', 'chunk_size', 'clip_to_box',
             'load_mask', 'min_score', 'review')
_LOADER_KEYS = ('batch_size', 'num_workers')
_CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')
# a fast process waits at the end for the slowest, and all of them for the file to be written
_TIMEOUT_SECONDS = 7 * 24 * 3600


def parser() -> argparse.ArgumentParser:
    """What labels, which boxes, and where the result goes; defaults are those of the config's ``label_cfg``."""
    parser = argparse.ArgumentParser(
        prog='maskforge label', description='Masks for all boxes of a data set (MAL, SAM 2): COCO JSON in, the same '
        'JSON with masks out, and pages that show the worst first. An interrupted job goes on where it stopped. What '
        'is not given comes from label_cfg of the config.')
    parser.add_argument('model', help='config, or checkpoint of maskforge')
    parser.add_argument('--weights', metavar='FILE', help="checkpoint for a config (default: the config's load_from)")
    parser.add_argument('--ann-file', '--ann-path', metavar='FILE', help='COCO JSON with boxes, or a COCO results list '
                        'of another model (with --images-json)')
    parser.add_argument('--images-json', metavar='FILE', help='COCO JSON with images and categories of a results list')
    parser.add_argument('--img-dir', metavar='DIR', help='folder of the images')
    parser.add_argument('--out', '--label-dump-path', metavar='FILE.json', help='the COCO JSON to write')
    parser.add_argument('--batch-size', type=int, metavar='N', help='boxes per forward pass')
    parser.add_argument('--num-workers', type=int, metavar='N', help='processes that read images, per GPU')
    parser.add_argument('--chunk-size', type=int, metavar='N', help='boxes labelled again at most after a kill (256)')
    parser.add_argument('--clip-to-box', action='store_true', default=None, help='cut masks off at their boxes')
    parser.add_argument('--load-mask', action='store_true', default=None, help='compare with masks in the file: iou')
    parser.add_argument('--min-score', type=float, metavar='S', help='leave out detections below this score')
    parser.add_argument('--review', type=int, metavar='N', help='boxes on the review pages, worst first (500); 0: no '
                        'pages, -1: all')
    parser.add_argument('--device', help='cpu, cuda:1 ... (default: a GPU where there is one)')
    parser.add_argument('--overwrite', '--restart', dest='restart', action='store_true', help='label again what an '
                        'interrupted or finished job has labelled')
    add_options(parser)
    add_processes(parser)
    add_key_file(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Label; return the exit code."""
    return run_verb(parser(), lambda args: _label(args, argv), argv)


def _label(args: argparse.Namespace, argv: list[str] | None) -> int:
    start_processes(args, 'label', argv)
    cfg, weights = load_label_model(args)
    settings = label_settings(args, cfg)
    if args.launcher != 'none':
        from maskforge.engine.distributed import init_dist
        # nothing but small messages passes between the processes: gloo takes no GPU memory for them
        init_dist(args.launcher, backend='gloo', timeout=_TIMEOUT_SECONDS)
    from maskforge.inference import label_boxes
    label_boxes(cfg, settings.pop('ann_file'), settings.pop('img_dir'), settings.pop('out'), weights=weights,
                device=args.device, resume=not args.restart, **settings)
    return 0


def is_config(model: str) -> bool:
    """Whether the argument names a config rather than a checkpoint."""
    return '::' in model or Path(model).suffix in _CONFIG_SUFFIXES


def load_label_model(args: argparse.Namespace) -> 'tuple[Config, str | None]':
    """The config (a checkpoint's own where one is given) with the overrides, and the weights.

    Raises:
        ValueError: no weights, or two.
        FileNotFoundError: the checkpoint is not there.
    """
    from maskforge.config import load_config
    if is_config(args.model):
        cfg = load_config(args.model, options=args.cfg_options)
        weights = args.weights or cfg.get('load_from')
        if not weights:
            raise ValueError(f'{args.model}: no weights to label with; give --weights CHECKPOINT or set load_from')
    else:
        if args.weights:
            raise ValueError(f'{args.model} is a checkpoint, and so is --weights {args.weights}: give one of them')
        if args.cfg_options:
            raise ValueError(f'--cfg-options change a config, but {args.model} is a checkpoint; give the config and '
                             f'--weights {args.model}')
        from maskforge.inference.load_model import checkpoint_config
        weights = args.model
        cfg = checkpoint_config(existing_checkpoint(weights))
    return cfg, existing_checkpoint(weights)


def label_settings(args: argparse.Namespace, cfg: 'Config') -> dict[str, Any]:
    """Flags, then ``label_cfg``, then ``test_dataloader``, for ``label_boxes``.

    Raises:
        ValueError: the boxes, images or output are named nowhere; an unknown key in ``label_cfg``.
    """
    loader = cfg.get('test_dataloader') or {}
    settings = {key: loader[key] for key in _LOADER_KEYS if key in loader}
    given = dict(cfg.get('label_cfg') or {})
    unknown = sorted(set(given) - set(_SETTINGS))
    if unknown:
        raise ValueError(f'label_cfg.{unknown[0]} does not exist; label_cfg knows {", ".join(_SETTINGS)}')
    settings.update({key: value for key, value in given.items() if value is not None})
    settings.update({key: getattr(args, key) for key in _SETTINGS if getattr(args, key) is not None})
    for key, flag in (('ann_file', '--ann-file FILE.json'), ('img_dir', '--img-dir DIR'), ('out', '--out FILE.json')):
        if not settings.get(key):
            raise ValueError(f'labelling needs {flag} (or label_cfg.{key} in the config)')
    if not os.path.isdir(settings['img_dir']):
        raise FileNotFoundError(f'--img-dir {settings["img_dir"]} is not a folder')
    if not str(settings['out']).endswith('.json'):
        settings['out'] = f'{settings["out"]}.json'
    return settings


if __name__ == '__main__':
    sys.exit(main())
