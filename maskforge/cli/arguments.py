"""Command-line arguments that several verbs share."""
import argparse


def add_config(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """The config file, and what overrides it."""
    parser.add_argument('config', nargs=nargs, help='config file, or maskforge::mask_rcnn/NAME.py for a shipped one')
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--cfg-options`` and its old spelling ``--options``."""
    parser.add_argument('--cfg-options', '--options', nargs='+', action='extend', default=[], metavar='KEY=VALUE',
                        dest='cfg_options', help='override config values, for example train_cfg.max_epochs=3')


def add_work_dir(parser: argparse.ArgumentParser) -> None:
    """Where results go."""
    parser.add_argument('--work-dir', help="folder for results (default: the config's work_dir, or "
                                           'work_dirs/<config name>)')


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Launchers, and starting several processes without one."""
    group = parser.add_argument_group('processes')
    group.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none',
                       help='what started this process (dist_train.sh and slurm_train.sh set it)')
    group.add_argument('--local-rank', '--local_rank', type=int, dest='local_rank', help=argparse.SUPPRESS)
    group.add_argument('--num-gpus', type=_positive, metavar='N',
                       help='start N processes on this machine, one per GPU (on gloo where there is none)')
    group.add_argument('--gpu-ids', nargs='+', type=_ids, metavar='ID',
                       help='use these GPUs, one process each; the larger of the two counts wins')


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be a whole number of at least 1, got {text!r}')
    return number


def _ids(text: str) -> list[int]:
    parts = text.strip('[]').replace(',', ' ').split()
    if not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f'must be GPU numbers such as 0 1 or [0,1], got {text!r}')
    return [int(part) for part in parts]


def gpu_ids(args: argparse.Namespace) -> list[int] | None:
    """The numbers given as ``--gpu-ids 0 1``, ``0,1`` or ``[0,1]``; None when the flag is absent."""
    if args.gpu_ids is None:
        return None
    return [number for group in args.gpu_ids for number in group]
