"""Sizes of image files, from their headers."""
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .json_file import require_file

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


#: the EXIF tag of the orientation, and its values that exchange width and height
ORIENTATION, ON_THE_SIDE = 0x0112, (5, 6, 7, 8)


def read_image_size(path: str | Path, *, upright: bool = False) -> tuple[int, int]:
    """Return (height, width) in pixels, without decoding the image.

    Args:
        upright: as the image loader shows it, after the orientation in the photo's EXIF data; else as stored.

    Raises:
        FileNotFoundError: no such file, with near names.
        ValueError: the file is no image or its header is broken.
    """
    try:
        with Image.open(require_file(path, 'image')) as image:
            turned = upright and image.getexif().get(ORIENTATION) in ON_THE_SIDE
            return (image.width, image.height) if turned else (image.height, image.width)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f'{path} is not a readable image: {error}.') from None


def list_images(folder: str | Path) -> list[Path]:
    """Image files below a folder, sorted by path.

    Raises:
        FileNotFoundError: the folder does not exist or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'folder {folder} does not exist.')
    found = sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise FileNotFoundError(f'{folder} holds no images ({", ".join(IMAGE_SUFFIXES)}).')
    return found
