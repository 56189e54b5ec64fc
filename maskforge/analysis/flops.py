"""Cost of one image: parameters, and multiplications and additions counted while the model runs."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from maskforge.structures import DetDataSample

from .config_parts import build_model, read_config


def run(config: str | Path | Config,
        *,
        shape: Sequence[int] | int = (800, 1333),
        depth: int = 2,
        options: Sequence[str] = ()) -> dict[str, Any]:
    """Count parameters and floating-point operations of predicting one random image.

    Convolutions, matrix products and attention are counted, one multiply-add as two operations. What depends on the
    picture (the number of proposals and detections) is taken as the untrained model gives it. MMDetection's tables
    call multiply-adds "FLOPs": compare those with ``gmacs``.

    Args:
        config: config file or Config.
        shape: height and width in pixels, or one number for a square.
        depth: levels of modules in ``by_module``.
        options: ``key=value`` changes of the config.

    Returns:
        ``gflops``, ``gmacs``, ``parameters``, ``trainable``, ``shape`` (height, width), ``by_module``: rows of
        (name, gflops, parameters).

    Raises:
        ValueError: the shape is not one or two positive numbers.
    """
    height, width = _shape(shape)
    model = build_model(read_config(config, options))
    sample = DetDataSample(metainfo=dict(img_id=0, img_path='random', ori_shape=(height, width),
                                         img_shape=(height, width), scale_factor=(1.0, 1.0)))
    data = dict(inputs=[torch.randint(0, 256, (3, height, width), dtype=torch.uint8)], data_samples=[sample])
    with torch.no_grad(), FlopCounterMode(display=False, depth=None) as counter:
        data = model.data_preprocessor(data, False)
        model(data['inputs'], data['data_samples'], mode='predict')
    flops = counter.get_total_flops()
    return dict(gflops=flops / 1e9, gmacs=flops / 2e9, parameters=_parameters(model),
                trainable=sum(p.numel() for p in model.parameters() if p.requires_grad), shape=(height, width),
                by_module=_by_module(model, counter, depth))


def _shape(shape: Sequence[int] | int) -> tuple[int, int]:
    sides = [shape, shape] if isinstance(shape, int) else list(shape) * (2 if len(shape) == 1 else 1)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f'shape={shape!r}: give height and width in pixels, or one number.')
    return sides[0], sides[1]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _by_module(model: nn.Module, counter: FlopCounterMode, depth: int) -> list[tuple[str, float, int]]:
    counts = counter.get_flop_counts()
    rows = []
    for name, module in model.named_modules():
        if name and name.count('.') < depth:
            flops = _flops(module, f'{type(model).__name__}.{name}', counts)
            if flops or _parameters(module):
                rows.append((name, flops / 1e9, _parameters(module)))
    return rows


def _flops(module: nn.Module, name: str, counts: dict) -> int:
    """The counter knows modules whose ``forward`` ran; lists of modules and mere containers are their parts' sum."""
    if name in counts:
        return sum(counts[name].values())
    return sum(_flops(child, f'{name}.{part}', counts) for part, child in module.named_children())
