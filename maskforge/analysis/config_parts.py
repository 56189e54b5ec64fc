"""What every analysis builds from a config: its data sets, its model."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from maskforge.config import load_config
from maskforge.layers import lora
from maskforge.registry import DATASETS

SPLITS = ('train', 'val', 'test')


def read_config(config: str | Path | Config, options: Sequence[str] = ()) -> Config:
    """A config from its file (options merged), or the one given; sets the default scope."""
    cfg = config if isinstance(config, Config) else load_config(config, options=options)
    if isinstance(config, Config) and options:
        raise ValueError('options are merged into config files; change the Config itself.')
    init_default_scope(cfg.get('default_scope') or 'maskforge')
    return cfg


def loader_config(cfg: Config, split: str) -> dict:
    """The data loader's part of a config.

    Raises:
        ValueError: unknown split.
        KeyError: the config has no such loader.
    """
    if split not in SPLITS:
        raise ValueError(f'split={split!r} is not one of {", ".join(SPLITS)}.')
    found = cfg.get(f'{split}_dataloader')
    if found is None:
        raise KeyError(f'{cfg.filename or "the config"} has no {split}_dataloader.')
    return found


def build_dataset(cfg: Config, split: str) -> Any:
    """The data set of a split, with its pipeline."""
    return DATASETS.build(loader_config(cfg, split)['dataset'])


def build_model(cfg: Config) -> Any:
    """The model in evaluation mode on the CPU, with random weights (nothing is fetched)."""
    return lora.merge_lora(lora.build_model(cfg.model)).eval()
