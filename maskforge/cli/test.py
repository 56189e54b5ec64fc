"""``maskforge test CFG CKPT_OR_ONNX``."""
import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_config, add_key_file, add_processes, add_work_dir, existing_checkpoint
from .errors import run_verb
from .processes import start_processes
from .run_config import build_runner, load_run_config, refuse_bad_config

if TYPE_CHECKING:
    from maskforge.config import Config


def parser() -> argparse.ArgumentParser:
    """The flags of testing."""
    parser = argparse.ArgumentParser(prog='maskforge test', description='Evaluate a checkpoint or an ONNX file.')
    add_config(parser)
    parser.add_argument('checkpoint', help='weights in any known layout, or an .onnx file of `maskforge export`')
    add_work_dir(parser)
    parser.add_argument('--out', metavar='FILE.json', help='write all predictions as COCO results')
    parser.add_argument('--show-dir', metavar='DIR', help='write the images with predictions drawn')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation by tta_model and tta_pipeline')
    parser.add_argument('--conf-threshold', type=float, metavar='S',
                        help='drop predictions with a lower score before they are scored (test_cfg.conf_threshold, 0)')
    add_processes(parser)
    add_key_file(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Evaluate; return the exit code."""
    return run_verb(parser(), lambda args: _test(args, argv), argv)


def _test(args: argparse.Namespace, argv: list[str] | None) -> int:
    start_processes(args, 'test', argv)
    cfg = test_config(args)
    refuse_bad_config(cfg)
    build_runner(cfg).test()
    return 0


def test_config(args: argparse.Namespace) -> 'Config':
    """The config with every flag of ``parser()`` applied.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: flags that the config or the kind of file cannot follow.
    """
    cfg = load_run_config(args)
    existing_checkpoint(args.checkpoint)
    for key in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        if cfg.get(key) is None:
            raise ValueError(f'{cfg.filename} has no {key}: testing needs test_dataloader, test_cfg and test_evaluator')
    cfg.resume, cfg.load_from = False, args.checkpoint
    if args.checkpoint.endswith('.onnx'):
        if args.tta:
            raise ValueError('--tta needs a checkpoint: an ONNX file has one fixed way of testing')
        cfg.load_from = None
        _register_onnx_model()
        cfg.model = dict(type='OnnxModel', path=args.checkpoint)
    if args.conf_threshold is not None:
        cfg.test_cfg = {**cfg.test_cfg, 'conf_threshold': args.conf_threshold}
    if args.out:
        _dump_to(cfg, args.out)
    if args.show_dir:
        _draw_to(cfg, args.show_dir)
    if args.tta:
        _augment(cfg)
    return cfg


test_config.__test__ = False  # the name is an API's, not a test's


def _register_onnx_model() -> None:
    from maskforge.inference import OnnxModel
    from maskforge.registry import MODELS
    if 'OnnxModel' not in MODELS:
        MODELS.register_module(module=OnnxModel)


def _dump_to(cfg: 'Config', out: str) -> None:
    if not out.endswith('.json'):
        raise ValueError(f'--out {out}: predictions are written as COCO results, the name must end in .json')
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
    cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=out)]


def _draw_to(cfg: 'Config', folder: str) -> None:
    hooks = dict(cfg.get('default_hooks') or {})
    hooks['visualization'] = {'type': 'DetVisualizationHook', **(hooks.get('visualization') or {}), 'draw': True,
                              'test_out_dir': str(Path(folder).absolute())}
    cfg.default_hooks = hooks


def _augment(cfg: 'Config') -> None:
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise ValueError(f'--tta: {cfg.filename} has no {" and no ".join(missing)}; add '
                         "'maskforge::_base_/tta.py' to _base_")
    dataset = cfg.test_dataloader.dataset
    while isinstance(dataset.get('dataset'), dict):
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


if __name__ == '__main__':
    sys.exit(main())
