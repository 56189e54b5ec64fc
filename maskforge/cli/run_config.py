"""A verb's config: the file, the command line, the checks."""
import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskforge.config import Config


def load_run_config(args: argparse.Namespace) -> 'Config':
    """Load ``args.config`` with the overrides; set its launcher and its work directory.

    ``--work-dir`` wins over ``work_dir`` of the config, the default is ``work_dirs/<config name>``.
    """
    from maskforge.config import load_config
    cfg = load_config(args.config, options=args.cfg_options)
    cfg.launcher = getattr(args, 'launcher', 'none')
    if getattr(args, 'work_dir', None):
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    return cfg


def refuse_bad_config(cfg: 'Config') -> None:
    """Print the linter's warnings; raise for keys that nothing reads and for what cannot work.

    Schedules that never act are warnings here: a short trial run of a long recipe is no mistake.

    Raises:
        ValueError: the first error, and how many more there are.
    """
    from maskforge.config import check_keys, lint_config
    findings = [*check_keys(cfg), *lint_config(cfg)]
    errors = [item for item in findings if item.level == 'error' and not item.key.startswith('param_scheduler')]
    for item in findings:
        if item not in errors and is_first_process():
            print(f'maskforge: warning: {item.key}: {item.message}', file=sys.stderr)
    if errors:
        more = f' (and {len(errors) - 1} more: maskforge config --lint {cfg.filename})' if len(errors) > 1 else ''
        raise ValueError(f'{cfg.filename}: {errors[0].key}: {errors[0].message}{more}')


def is_first_process() -> bool:
    """Whether this is the process of rank 0, before any process group exists."""
    return os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'


def build_runner(cfg: 'Config'):
    """The runner that the config names, ``maskforge.engine.Runner`` by default."""
    from maskforge.registry import RUNNERS
    return RUNNERS.get(cfg.get('runner_type', 'Runner')).from_cfg(cfg)
