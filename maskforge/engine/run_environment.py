"""Facts about the machine and the run that belong at the head of a log, and names that no two runs share."""
import os
import platform
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from mmengine.config import Config as _Config
from mmengine.dist import broadcast_object_list, is_main_process

from maskforge.config import Config

_PACKAGES = ('maskforge', 'torch', 'torchvision', 'mmengine', 'mmcv', 'mmcv-lite', 'numpy', 'opencv-python-headless',
             'opencv-python', 'timm', 'pycocotools')
_taken: set[str] = set()


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on, those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment_facts() -> dict[str, str]:
    """System, versions and devices, in the order in which they are logged."""
    facts = dict(system=platform.platform(), python=sys.version.split()[0])
    facts.update(package_versions())
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        facts['GPUs'] = ', '.join(f'{names.count(name)} x {name}' for name in dict.fromkeys(names))
        facts['CUDA'] = f'{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}'
    else:
        facts['device'] = f'CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads in torch'
    return facts


def unique_timestamp(work_dir: str | os.PathLike) -> str:
    """A time such as 20261121_031500 that is no run's name yet: not in this process, not in ``work_dir``.

    The folder is made, so that another process that asks in the same second gets another name. All ranks get rank 0's
    answer.
    """
    answer = [_claim(Path(work_dir)) if is_main_process() else None]
    broadcast_object_list(answer)
    _taken.add(answer[0])
    return answer[0]


def _claim(work_dir: Path) -> str:
    now = time.strftime('%Y%m%d_%H%M%S')
    number = 0
    while True:
        name = now if number == 0 else f'{now}_{number}'
        number += 1
        if name in _taken:
            continue
        try:
            (work_dir / name).mkdir(parents=True)
        except FileExistsError:
            continue
        return name


def with_safe_text(cfg: _Config | Mapping) -> Config:
    """Return the config as maskforge's, whose text never fails (MMEngine's ends the run at the first function)."""
    if isinstance(cfg, Config):
        return cfg
    if isinstance(cfg, _Config):
        return Config(dict(cfg._cfg_dict), filename=cfg.filename)
    return Config(dict(cfg))
