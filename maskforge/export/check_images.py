"""The real images on which an exported file is compared with PyTorch."""
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from maskforge.export.preprocessing import Preprocessing
from maskforge.registry import DATASETS

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def find_check_images(cfg: Config, given: str | Sequence[str] | None, *, count: int) -> list[Path]:
    """Paths of ``count`` images: those that were given, else the first of the test or validation data set.

    Args:
        cfg: the run's config; ``test_dataloader`` is tried before ``val_dataloader``.
        given: paths or folders.
        count: how many.

    Raises:
        FileNotFoundError: a given path is not there, or there is no data set to take images from.
    """
    if given:
        names = [given] if isinstance(given, (str, Path)) else given
        return [path for name in names for path in _expand(Path(name))][:count]
    reasons = []
    for key in ('test_dataloader', 'val_dataloader'):
        if not cfg.get(key):
            reasons.append(f'{key} is not set')
            continue
        try:
            found = list(_dataset_images(cfg[key].dataset, count))
        except FileNotFoundError as error:
            reasons.append(f'{key}: {error}')
            continue
        if found:
            return found
        reasons.append(f'{key} has no image files')
    raise FileNotFoundError('No real images to check the exported file on (' + '; '.join(reasons) + '). Set '
                            "export_cfg.check_images=['a.jpg', ...], or export_cfg.check=False to skip the check.")


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise FileNotFoundError(f"export_cfg.check_images: the folder '{path}' has no images.")
        return found
    if not path.is_file():
        raise FileNotFoundError(f"export_cfg.check_images: there is no file '{path}'.")
    return [path]


def _dataset_images(dataset_cfg: dict, count: int) -> Iterator[Path]:
    dataset = DATASETS.build(dict(dataset_cfg))
    for index in range(len(dataset)):
        info = dataset.get_data_info(index) if hasattr(dataset, 'get_data_info') else {}
        path = Path(info.get('img_path') or '')
        if path.is_file():
            yield path
            count -= 1
        if not count:
            return


def make_batches(paths: Sequence[Path], preprocessing: Preprocessing,
                 batch_size: int) -> list[tuple[list[str], np.ndarray]]:
    """Batches to compare on.

    Args:
        paths: image files.
        preprocessing: the file's rule.
        batch_size: of a fixed file (the last batch is filled by repeating images); -1: one image each, then all
            together, so that a dynamic batch is tried with more than one size.
    """
    inputs = [preprocessing.prepare(_read(path))[0] for path in paths]
    names = [path.name for path in paths]
    picks = [] if batch_size > 0 else [[index] for index in range(len(inputs))]
    for group in preprocessing.groups(inputs, batch_size if batch_size > 0 else None):
        if batch_size > 0:
            picks.append([group[index % len(group)] for index in range(batch_size)])
        elif len(inputs) > 1 or not preprocessing.pads:
            # an image alone of its size still makes a batch of two
            picks.append(group if len(group) > 1 else group * 2)
    return [([names[i] for i in pick], preprocessing.stack([inputs[i] for i in pick])) for pick in picks]


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"'{path}' cannot be read as an image (damaged, or not an image).")
    return image
