"""``maskforge train CFG``."""
import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_config, add_key_file, add_processes, add_work_dir
from .errors import run_verb
from .processes import start_processes
from .run_config import build_runner, is_first_process, load_run_config, refuse_bad_config

if TYPE_CHECKING:
    from maskforge.config import Config


def parser() -> argparse.ArgumentParser:
    """The flags of training: MMDetection 3's, and the old spellings."""
    parser = argparse.ArgumentParser(prog='maskforge train', description='Train a model.')
    add_config(parser)
    add_work_dir(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='FILE', action='append', default=[],
                        help='continue: from FILE, or from the latest checkpoint of the work directory (auto); given '
                             'both, from FILE only where there is no latest one')
    parser.add_argument('--resume-from', metavar='FILE',
                        help='continue from FILE (weights, optimizer, counters, seeds)')
    parser.add_argument('--load-from', metavar='FILE', help='start at epoch 0 with the weights of FILE')
    parser.add_argument('--no-validate', action='store_true', help='do not validate during training')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate by batch size over auto_scale_lr.base_batch_size')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--seed', type=int, help='randomness.seed')
    parser.add_argument('--print-config', action='store_true', help='print the merged config and stop')
    parser.add_argument('--dry-run', action='store_true',
                        help='run a few batches of training, validation and test, report memory and time, and stop')
    add_processes(parser)
    add_key_file(parser, writes='checkpoints')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train; return the exit code."""
    return run_verb(parser(), lambda args: _train(args, argv), argv)


def _train(args: argparse.Namespace, argv: list[str] | None) -> int:
    if not args.print_config:
        start_processes(args, 'train', argv)
    cfg = train_config(args)
    if args.print_config:
        print(cfg.pretty_text, end='')
        return 0
    refuse_bad_config(cfg)
    if args.dry_run:
        from .dry_run import dry_run
        return dry_run(cfg)
    build_runner(cfg).train()
    return 0


def train_config(args: argparse.Namespace) -> 'Config':
    """The config with every flag of ``parser()`` applied.

    Raises:
        ValueError: flags that contradict each other or the config.
        FileNotFoundError: a checkpoint to resume or load does not exist.
    """
    cfg = load_run_config(args)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.no_validate:
        _leave_out_validation(cfg)
    if args.amp:
        _use_amp(cfg)
    if args.auto_scale_lr:
        _scale_lr(cfg)
    _choose_start(cfg, args)
    return cfg


def _choose_start(cfg: 'Config', args: argparse.Namespace) -> None:
    """Resume, load weights, or start afresh.

    A file to resume is continued from; with ``--resume auto`` besides (a job that Slurm has started again), only as
    long as the work directory has no checkpoint of its own.
    """
    files = [*([args.resume_from] if args.resume_from else []), *(name for name in args.resume if name != 'auto')]
    if files and args.load_from:
        raise ValueError('--resume-from continues a run and --load-from starts one with weights: give one of them')
    if len(files) > 1:
        raise ValueError(f'a run continues from one file, got {" and ".join(files)}: give one of them')
    # to find the latest one, all of it is read
    latest = None if files and 'auto' not in args.resume else _latest(cfg.work_dir)
    if files and latest is None:
        cfg.resume, cfg.load_from = True, _existing(files[0], '--resume-from')
        return
    if args.load_from:
        cfg.resume, cfg.load_from = False, args.load_from
    automatic = 'auto' in args.resume or (cfg.get('resume') and not cfg.get('load_from'))
    if automatic:
        cfg.resume = latest is not None
        if latest is not None:
            cfg.load_from = str(latest)
        elif is_first_process():
            print(f'maskforge: nothing to resume in {cfg.work_dir}, training starts '
                  f'{"with the weights of " + cfg.load_from if cfg.get("load_from") else "from the beginning"}',
                  file=sys.stderr)
    elif latest is not None and not cfg.get('resume') and is_first_process() and not args.print_config:
        print(f'maskforge: warning: {cfg.work_dir} holds {latest.name} of an earlier run, which is not continued; '
              '--resume would continue it', file=sys.stderr)


def _latest(work_dir: str) -> Path | None:
    if not Path(work_dir).is_dir():
        return None
    from maskforge.checkpoints import find_latest
    found = find_latest(work_dir)
    return Path(found) if found is not None else None


def _existing(file: str, flag: str) -> str:
    if '://' not in file and not Path(file).exists():
        raise FileNotFoundError(f'{flag} {file}: the file does not exist')
    return file


def _leave_out_validation(cfg: 'Config') -> None:
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    for key in ('save_best', 'rule'):
        checkpoint.pop(key, None)
    waiting = [hook for hook in cfg.get('custom_hooks') or [] if hook.get('type') == 'EarlyStoppingHook']
    if waiting:
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook not in waiting]
        print('maskforge: warning: --no-validate leaves out EarlyStoppingHook, which waits for a metric',
              file=sys.stderr)


def _use_amp(cfg: 'Config') -> None:
    kind = (cfg.get('optim_wrapper') or {}).get('type', 'OptimWrapper')
    if kind == 'AmpOptimWrapper':
        return
    if kind != 'OptimWrapper':
        raise ValueError(f"--amp replaces optim_wrapper.type='OptimWrapper' by 'AmpOptimWrapper', but the config has "
                         f"'{kind}'; set its precision in the config")
    cfg.optim_wrapper['type'] = 'AmpOptimWrapper'


def _scale_lr(cfg: 'Config') -> None:
    scale = cfg.get('auto_scale_lr') or {}
    if not scale.get('base_batch_size'):
        raise ValueError(f'--auto-scale-lr needs the batch size that the learning rate belongs to: add '
                         f'auto_scale_lr=dict(base_batch_size=16) to {cfg.filename}')
    cfg.auto_scale_lr = dict(scale, enable=True)


if __name__ == '__main__':
    sys.exit(main())
