"""From a config, a checkpoint or an ONNX file to a model that predicts, with its test pipeline."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from maskforge.checkpoints import adopt_config_key, load_checkpoint, load_weights
from maskforge.config import load_config
from maskforge.inference.dumped_config import parse_dumped_config
from maskforge.inference.onnx_model import OnnxModel
from maskforge.layers.lora import build_model, merge_lora
from maskforge.registry import DATASETS, SCOPE

CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.ckpt', '.bin', '.safetensors')


def default_device() -> torch.device:
    """CUDA where there is a device, else the CPU."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def load_model(source: str | Path | Config, *, weights: str | Path | None = None,
               device: str | torch.device | None = None) -> tuple[BaseModel, Config | None]:
    """Load a model for prediction.

    Args:
        source: a config (file, ``maskforge::...`` name or object), a maskforge checkpoint, or an exported ONNX file.
            Encrypted files are read with the key in effect (:func:`maskforge.checkpoints.set_encryption_key`,
            ``MASKFORGE_KEY``, ``encryption_key`` of the config).
        weights: checkpoint for a config; its ``load_from`` by default. With a checkpoint as ``source``, none.
        device: None takes CUDA where there is one.

    Returns:
        The model in evaluation mode with ``dataset_meta``, and its config (None for an ONNX file).

    Raises:
        ValueError: no weights, a checkpoint without a config text, weights given twice.
        FileNotFoundError: a file that is not there.
    """
    suffix = Path(str(source)).suffix.lower() if not isinstance(source, Config) else ''
    if suffix == '.onnx':
        if weights is not None:
            raise ValueError(f'{source} holds its own weights; weights={weights} cannot be loaded into an ONNX file.')
        return OnnxModel(source).eval(), None
    checkpoint: Mapping[str, Any]
    if suffix in CHECKPOINT_SUFFIXES or (not isinstance(source, Config) and Path(str(source)).is_dir()):
        if weights is not None:
            raise ValueError(f'{source} is a checkpoint, and so is weights={weights}; give the config and one of them.')
        weights, checkpoint = source, load_checkpoint(source)
        cfg = _config_of(checkpoint, str(source))
    else:
        cfg = source if isinstance(source, Config) else load_config(source)
        if cfg.get('encryption_key') is not None:
            adopt_config_key(cfg.encryption_key)
        weights = weights or cfg.get('load_from')
        if not weights:
            raise ValueError(f'{getattr(cfg, "filename", None) or "the config"}: no weights to predict with; give '
                             f'weights=CHECKPOINT or set load_from in the config.')
        checkpoint = load_checkpoint(weights)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or SCOPE):
        model = build_model(cfg.model)
    report = load_weights(model, checkpoint)
    merge_lora(model)
    report.source = str(weights)
    print_log(report.summary(), logger='current')
    model.dataset_meta = find_dataset_meta(checkpoint, cfg)
    return model.to(torch.device(device) if device else default_device()).eval(), cfg


def checkpoint_config(path: str | Path) -> Config:
    """The config that a checkpoint of maskforge carries.

    Raises:
        ValueError: it carries none.
    """
    return _config_of(load_checkpoint(path), str(path))


def _config_of(checkpoint: Mapping[str, Any], source: str) -> Config:
    text = (checkpoint.get('meta') or {}).get('cfg')
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'{source} has no config text (meta.cfg): it was not written by a maskforge run. Give the '
                         f"config file first and the checkpoint as weights='{source}'.")
    return parse_dumped_config(text, source=source)


def find_dataset_meta(checkpoint: Mapping[str, Any], cfg: Config) -> dict[str, Any]:
    """Classes, palette and category ids of the weights: from the checkpoint, else from the config's data set."""
    meta = checkpoint.get('meta') or {}
    found = dict(meta.get('dataset_meta') or {})
    if not found.get('classes') and meta.get('CLASSES'):  # MMDetection 2.x
        found = dict(classes=tuple(meta['CLASSES']), palette=meta.get('PALETTE'))
    if not found.get('classes'):
        found = _meta_of_dataset(cfg)
    classes = tuple(found.get('classes') or ())
    found['classes'] = classes
    found['category_ids'] = tuple(found.get('category_ids') or range(1, len(classes) + 1))
    return found


def _meta_of_dataset(cfg: Config) -> dict[str, Any]:
    for key in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset')
        while dataset is not None and (dataset.get('dataset') or dataset.get('datasets')):
            inner = dataset.get('dataset') or dataset.get('datasets')
            dataset = inner[0] if isinstance(inner, (list, tuple)) else inner
        if dataset is None:
            continue
        if (dataset.get('metainfo') or {}).get('classes'):
            return dict(dataset['metainfo'])
        kind = dataset.get('type')
        declared = getattr(DATASETS.get(kind) if isinstance(kind, str) else kind, 'METAINFO', {})
        if declared.get('classes'):
            return dict(declared)
    return {}
