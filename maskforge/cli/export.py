"""``maskforge export CFG CKPT``."""
import argparse
import sys
from typing import TYPE_CHECKING

from .arguments import add_config, add_key_file, add_work_dir, existing_checkpoint
from .errors import run_verb
from .run_config import build_runner, load_run_config, refuse_bad_config

if TYPE_CHECKING:
    from maskforge.config import Config


def parser() -> argparse.ArgumentParser:
    """The flags of the export; each sets the key of ``export_cfg`` with its name."""
    parser = argparse.ArgumentParser(prog='maskforge export', description='Write the model as ONNX, run the file in '
                                     'onnxruntime on real images and compare with PyTorch.')
    add_config(parser)
    parser.add_argument('checkpoint', help='weights in any known layout')
    add_work_dir(parser)
    parser.add_argument('--onnx-file', metavar='FILE', help='where to write (default: <work dir>/<config name>.onnx)')
    parser.add_argument('--opset-version', type=int, metavar='N', help='operator set of the file')
    parser.add_argument('--input-height', type=int, metavar='H', help='pixels')
    parser.add_argument('--input-width', type=int, metavar='W', help='pixels')
    parser.add_argument('--input-channel', type=int, choices=(1, 3), help='1: the file takes grey images')
    parser.add_argument('--exporter', choices=('auto', 'dynamo', 'torchscript'), help='of torch (auto: by the opset)')
    parser.add_argument('--plugin', dest='on_cpu', action='store_false', default=None,
                        help="write TensorRT's plugin nodes (on_cpu=False); the file then runs in TensorRT only")
    parser.add_argument('--batch-size', type=int, metavar='N', help='-1 is dynamic')
    parser.add_argument('--dynamic-size', action='store_true', default=None, help='height and width stay dynamic')
    parser.add_argument('--check-images', nargs='+', metavar='PATH', help='images or folders to compare on')
    parser.add_argument('--no-check', dest='check', action='store_false', default=None,
                        help='do not compare with PyTorch')
    add_key_file(parser, writes='exported files')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Export; return the exit code, which is not 0 when the check fails."""
    return run_verb(parser(), _export, argv)


def _export(args: argparse.Namespace) -> int:
    cfg = export_config(args)
    refuse_bad_config(cfg)
    build_runner(cfg).export()
    return 0


def export_config(args: argparse.Namespace) -> 'Config':
    """The config with the flags written into ``export_cfg``.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
    """
    cfg = load_run_config(args)
    existing_checkpoint(args.checkpoint)
    cfg.resume, cfg.load_from = False, args.checkpoint
    names = ('onnx_file', 'opset_version', 'input_height', 'input_width', 'input_channel', 'exporter', 'on_cpu',
             'batch_size', 'dynamic_size', 'check_images', 'check')
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    cfg.export_cfg = {'type': 'ExportLoop', **(cfg.get('export_cfg') or {}), **given}
    return cfg


if __name__ == '__main__':
    sys.exit(main())
