"""Look at what the network is fed: one static page with the drawn, augmented samples of a config's data set."""
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from torch import Tensor

from maskforge.structures import DetDataSample, seeded_sample
from maskforge.visualization import ResultPage, draw_instances

from .config_parts import build_dataset, read_config


def run(config: str | Path | Config,
        *,
        output_dir: str | Path = 'browse',
        split: str = 'train',
        number: int = 48,
        seed: int = 0,
        shuffle: bool = True,
        embed: bool = True,
        options: Sequence[str] = ()) -> Path:
    """Draw samples after the whole pipeline (augmentation included) and write ``<output_dir>/index.html``.

    Args:
        config: config file or Config.
        output_dir: folder of the page.
        split: ``'train'``, ``'val'`` or ``'test'``.
        number: how many samples; all where the data set has fewer.
        seed: seed of the choice and of the augmentation; another seed shows other variants.
        shuffle: a random choice; otherwise the first ones.
        embed: one file with the pictures inside; False writes them beside it.
        options: ``key=value`` changes of the config.

    Returns:
        The page's path.
    """
    cfg = read_config(config, options)
    dataset = build_dataset(cfg, split)
    classes, palette = dataset.metainfo.get('classes', ()), dataset.metainfo.get('palette')
    order = np.random.default_rng(seed).permutation(len(dataset)) if shuffle else np.arange(len(dataset))
    chosen = [int(index) for index in order[:number]]
    page = ResultPage(f'{Path(cfg.filename or "config").stem}: {split} samples', embed=embed)
    pictures, counts = [], Counter()
    for index in chosen:
        with seeded_sample(seed * 1_000_003 + index):
            packed = dataset[index]
        sample = packed['data_samples']
        names = _names(sample, classes)
        counts.update(names)
        drawn = draw_instances(_image(packed['inputs']), sample, classes, palette, min_side=320)
        pictures.append((drawn, _caption(index, sample, names), names or ['no objects']))
    page.add_note(f'{len(chosen)} of {len(dataset)} samples, as the network gets them. Ignored regions are grey. '
                  'Click a picture to enlarge it, arrow keys move on.')
    page.add_heading('Objects in these samples')
    page.add_table([(name, counts[name]) for name in classes if counts[name]], header=('class', 'objects'))
    page.add_heading('Samples')
    for drawn, caption, names in pictures:
        page.add_picture(drawn, caption, tags=names)
    return page.write(Path(output_dir) / 'index.html')


def _image(inputs: Tensor) -> np.ndarray:
    """(H, W, 3) uint8 BGR of a packed input; normalised inputs are stretched to 0 .. 255."""
    image = inputs.permute(1, 2, 0).numpy()
    if image.dtype != np.uint8:
        low, high = image.min(), image.max()
        image = ((image - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return np.ascontiguousarray(image)


def _names(sample: DetDataSample, classes: Sequence[str]) -> list[str]:
    labels = sample.gt_instances.labels.tolist() if 'gt_instances' in sample else []
    return [classes[label] if label < len(classes) else f'#{label}' for label in labels]


def _caption(index: int, sample: DetDataSample, names: Sequence[str]) -> str:
    meta = sample.metainfo
    file = Path(str(meta.get('img_path') or meta.get('img_id', ''))).name
    height, width = meta.get('img_shape', meta.get('ori_shape', (0, 0)))[:2]
    ignored = len(sample.ignored_instances) if 'ignored_instances' in sample else 0
    found = ', '.join(f'{count} {name}' for name, count in Counter(names).items()) or 'no objects'
    return f'{index}: {file} ({width} x {height}) {found}{f", {ignored} ignored" if ignored else ""}'
