"""What a user may hand to the Inferencer, as one list of named images."""
import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')
DRAWN_SUFFIXES = ('.jpg', '.jpeg', '.png')

Inputs = str | Path | np.ndarray | Sequence


@dataclass(frozen=True)
class InputImage:
    """One image: a file, or an array in memory.

    Attributes:
        name: unique in its list, with forward slashes; relative to the folder it was found in.
        path: the file, or None for an array.
        array: (H, W, 3) uint8 BGR, or None for a file.
    """

    name: str
    path: Path | None = None
    array: np.ndarray | None = None

    def read(self) -> np.ndarray:
        """The pixels, (H, W, 3) uint8 BGR.

        Raises:
            ValueError: the file cannot be read as an image; it is named.
        """
        if self.array is not None:
            return self.array
        data = np.fromfile(self.path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise ValueError(f"'{self.path}' cannot be read as an image: damaged, empty, or not an image.")
        return image

    @property
    def drawn_name(self) -> str:
        """File name of the drawn picture, below the output folder."""
        return self.name if Path(self.name).suffix.lower() in DRAWN_SUFFIXES else f'{self.name}.jpg'


def list_images(inputs: Inputs) -> list[InputImage]:
    """Collect images.

    Args:
        inputs: a path, a folder (searched to the bottom), a glob pattern, an array (H, W, 3) uint8 BGR or (H, W), or
            a list of any of these. Files of a folder or pattern are sorted by name, lists keep their order.

    Raises:
        FileNotFoundError: nothing there; the path or pattern is named.
        ValueError: an array that is not an image.
    """
    if isinstance(inputs, (str, Path, np.ndarray)):
        inputs = [inputs]
    if isinstance(inputs, Iterable):
        found = [image for index, entry in enumerate(inputs) for image in _expand(entry, index)]
        return _with_unique_names(found)
    raise ValueError(f'inputs must be paths, arrays, folders, patterns or a list of them, got {type(inputs).__name__}.')


def _expand(entry: str | Path | np.ndarray, index: int) -> list[InputImage]:
    if isinstance(entry, np.ndarray):
        return [InputImage(f'image_{index + 1:06d}', array=_checked(entry, index))]
    if not isinstance(entry, (str, Path)):
        raise ValueError(f'inputs[{index}] must be a path or an array, got {type(entry).__name__}.')
    path = Path(entry).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.rglob('*') if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not files:
            raise FileNotFoundError(f"the folder '{path}' has no images ({', '.join(IMAGE_SUFFIXES)}).")
        return [InputImage(file.relative_to(path).as_posix(), file) for file in files]
    if path.is_file():
        return [InputImage(path.name, path)]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    files = [match for match in matches if match.is_file()]
    if not files:
        kind = 'no file matches' if glob.has_magic(str(path)) else 'there is no file or folder'
        raise FileNotFoundError(f"{kind} '{entry}'.")
    return [InputImage(file.name, file) for file in files]


def _checked(array: np.ndarray, index: int) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ValueError(f'inputs[{index}]: an image array must be uint8 (H, W, 3) in BGR order or (H, W), got '
                         f'{array.dtype} {array.shape}.')
    if array.ndim == 2 or array.shape[2] == 1:
        return cv2.cvtColor(array, cv2.COLOR_GRAY2BGR)
    return array


def label_stems(images: Sequence[InputImage]) -> dict[str, str]:
    """Name of each image -> its name without the ending; with it where two would be the same (a.jpg and a.png)."""
    stems = {image.name: image.name.removesuffix(Path(image.name).suffix) for image in images}
    taken = Counter(stems.values())
    return {name: stem if taken[stem] == 1 else name for name, stem in stems.items()}


def _with_unique_names(images: list[InputImage]) -> list[InputImage]:
    """Files whose names, or whose pictures' names, are the same get their position in front of the name."""
    found = images
    while True:
        counts = Counter(image.drawn_name for image in found)
        if all(count == 1 for count in counts.values()):
            return found
        found = [image if counts[image.drawn_name] == 1
                 else InputImage(f'{index + 1:06d}_{image.name}', image.path, image.array)
                 for index, image in enumerate(found)]
