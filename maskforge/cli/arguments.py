"""Command-line arguments that several verbs share."""
import argparse
from pathlib import Path


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


def add_key_file(parser: argparse.ArgumentParser, *, writes: str = '') -> None:
    """``--key-file``; :func:`~maskforge.cli.errors.run_verb` reads it before the verb begins.

    Args:
        writes: what the verb encrypts with the key.
    """
    also = f'; {writes} are encrypted with it' if writes else ''
    parser.add_argument('--key-file', metavar='FILE', help=f'file with the key of encrypted files{also} (otherwise: '
                        'environment variable MASKFORGE_KEY, then encryption_key of the config)')


def add_output_key(parser: argparse.ArgumentParser) -> None:
    """What the written file is encrypted with, if not with the key that is read with."""
    other = parser.add_mutually_exclusive_group()
    other.add_argument('--decrypt', action='store_true', help='write the file without encryption')
    other.add_argument('--new-key-file', metavar='FILE', help='encrypt with the key in FILE instead')


def output_key(args: argparse.Namespace) -> bytes | None:
    """The key of the file to be written, by ``add_output_key``'s flags; None for no encryption."""
    from maskforge.checkpoints import current_key, read_key_file
    if args.decrypt:
        return None
    return read_key_file(args.new_key_file) if args.new_key_file else current_key()


def existing_checkpoint(name: str) -> str:
    """Return the name of a checkpoint: a file, the folder of one in parts, or an address, which is not looked up.

    Raises:
        FileNotFoundError: there is none.
    """
    if '://' not in name and not Path(name).exists():
        raise FileNotFoundError(f'checkpoint {name} does not exist')
    return name


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
