"""How fast a config runs here: inference, data loader, or data set (transform by transform), with memory."""
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from maskforge.checkpoints import load_weights
from maskforge.engine.data_loading import build_dataloader
from maskforge.structures import seeded_sample

from .config_parts import build_dataset, build_model, loader_config, read_config

TASKS = ('inference', 'dataloader', 'dataset')


def run(config: str | Path | Config,
        *,
        task: str = 'inference',
        checkpoint: str | Path | None = None,
        split: str | None = None,
        batch_size: int = 1,
        max_iter: int = 200,
        num_warmup: int = 5,
        repeat_num: int = 1,
        device: str | None = None,
        fuse_conv_bn: bool = False,
        report: Callable[[str], None] = print,
        options: Sequence[str] = ()) -> dict[str, Any]:
    """Measure one of the three tasks.

    Args:
        config: config file or Config.
        task: ``'inference'``: samples in memory through ``model.test_step``; ``'dataloader'``: the config's loader
            with its workers; ``'dataset'``: records through the pipeline in this process, with times per transform.
        checkpoint: weights; random ones by default (then the number of detections is not typical).
        split: ``'train'``, ``'val'`` or ``'test'``; ``'test'`` for inference and ``'train'`` otherwise by default.
        batch_size: images per step of ``'inference'``.
        max_iter: measured steps (fewer where the data end).
        num_warmup: steps before the clock starts.
        repeat_num: how often to measure; the mean and the spread are reported.
        device: ``'cpu'``, ``'cuda'``, ...; a GPU where there is one.
        fuse_conv_bn: fold batch norms into convolutions before inference.
        report: takes lines of text: one per measurement, then the summary.
        options: ``key=value`` changes of the config.

    Returns:
        ``task``, ``images_per_second`` (mean), ``spread`` (standard deviation over repeats), ``ms_per_image``,
        ``images`` (measured each time), ``memory_mb`` (peak; of the device for inference on a GPU, of this process
        and its workers otherwise), and ``ms_by_transform`` for ``'dataset'``.

    Raises:
        ValueError: an unknown task, or counts that are not positive.
    """
    if task not in TASKS:
        raise ValueError(f'task={task!r} is not one of {", ".join(TASKS)}.')
    if max_iter < 1 or repeat_num < 1 or batch_size < 1 or num_warmup < 0:
        raise ValueError(f'max_iter={max_iter}, repeat_num={repeat_num} and batch_size={batch_size} must be at least '
                         f'1, num_warmup={num_warmup} at least 0.')
    cfg = read_config(config, options)
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    split = split or ('test' if task == 'inference' else 'train')
    if task == 'inference':
        model = _ready(cfg, checkpoint, device, fuse_conv_bn)
        source = partial(_inference, model, build_dataset(cfg, split), batch_size, max_iter + num_warmup)
    elif task == 'dataloader':
        source = partial(_loader, cfg, split)
    else:
        timer = _TransformTimes(build_dataset(cfg, split))
        source = timer.samples
    rates, images = _measure(source, max_iter, num_warmup, repeat_num, device, report)
    found = dict(task=task, images_per_second=float(np.mean(rates)), spread=float(np.std(rates)),
                 ms_per_image=1000 / float(np.mean(rates)), images=images,
                 memory_mb=_memory(device if task == 'inference' else 'cpu'))
    if task == 'dataset':
        found['ms_by_transform'] = timer.means()
    for line in _summary(found):
        report(line)
    return found


def _summary(found: dict[str, Any]) -> Iterator[str]:
    yield (f'{found["task"]}: {found["images_per_second"]:.2f} +- {found["spread"]:.2f} images per second over '
           f'{found["images"]} images, peak memory {found["memory_mb"]:.0f} MB')
    for name, milliseconds in found.get('ms_by_transform', {}).items():
        yield f'  {name:<30} {milliseconds:9.3f} ms per image'


def _measure(source: Callable[[], Iterator[int]], max_iter: int, num_warmup: int, repeat_num: int, device: str,
             report: Callable[[str], None]) -> tuple[list[float], int]:
    """Images per second of each repeat, and the images of the last one; ``source`` yields images per step."""
    rates, images = [], 0
    for repeat in range(repeat_num):
        steps, images = source(), 0
        for _ in range(num_warmup):
            next(steps, None)
        _wait(device)
        started = time.perf_counter()
        for _, count in zip(range(max_iter), steps):
            images += count
        _wait(device)
        seconds = time.perf_counter() - started
        if not images:
            raise ValueError(f'the data ended within num_warmup={num_warmup} steps: nothing was measured.')
        rates.append(images / seconds)
        report(f'{repeat + 1} of {repeat_num}: {rates[-1]:.2f} images per second, {1000 / rates[-1]:.2f} ms per image')
    return rates, images


def _wait(device: str) -> None:
    if device.startswith('cuda'):
        torch.cuda.synchronize()


def _ready(cfg: Config, checkpoint: str | Path | None, device: str, fuse_conv_bn: bool) -> Any:
    model = build_model(cfg)
    if checkpoint is not None:
        load_weights(model, checkpoint)
    if fuse_conv_bn:
        from mmcv.cnn.utils import fuse_conv_bn as fuse
        model = fuse(model)
    if device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
    return model.to(device).eval()


def _inference(model: Any, dataset: Any, batch_size: int, steps: int) -> Iterator[int]:
    """Step the model over batches that lie in memory, again from the start where they end."""
    count = min(len(dataset), batch_size * min(steps, 20))
    samples = [dataset[index] for index in range(count)]
    with torch.no_grad():
        for step in range(steps):
            batch = [samples[(step * batch_size + i) % count] for i in range(batch_size)]
            model.test_step(pseudo_collate(batch))
            yield batch_size


def _loader(cfg: Config, split: str) -> Iterator[int]:
    for batch in build_dataloader(loader_config(cfg, split), seed=0):
        yield len(batch['inputs'])


class _TransformTimes:
    """Runs a data set's pipeline by hand and adds up the time of each transform."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.seconds: dict[str, float] = {}
        self.count = 0

    def samples(self) -> Iterator[int]:
        """Prepare record after record, each with its own seed."""
        self.seconds, self.count = {}, 0
        transforms = getattr(getattr(self.dataset, 'pipeline', None), 'transforms', None)
        for index in range(len(self.dataset)):
            with seeded_sample(index):
                if transforms is None:
                    self._timed('whole sample', self.dataset.__getitem__, index)
                else:
                    record = self._timed('get_data_info', self.dataset.get_data_info, index)
                    for position, transform in enumerate(transforms):
                        record = self._timed(f'{position} {type(transform).__name__}', transform, record)
                        if record is None:
                            break
            self.count += 1
            yield 1

    def means(self) -> dict[str, float]:
        """Milliseconds per image of each step."""
        return {name: 1000 * seconds / max(self.count, 1) for name, seconds in self.seconds.items()}

    def _timed(self, name: str, step: Callable, argument: Any) -> Any:
        started = time.perf_counter()
        outcome = step(argument)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        return outcome


def _memory(device: str) -> float:
    """Peak memory in MB (2**20 bytes)."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated() / 2**20
    import resource
    import sys
    unit = 2**20 if sys.platform == 'darwin' else 2**10
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit
