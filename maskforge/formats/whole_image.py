"""Image files that were cut while copying."""
import io

from PIL import Image

# the last bytes of a whole file, by its first bytes
ENDINGS = {b'\xff\xd8\xff': b'\xff\xd9', b'\x89PNG': b'IEND\xaeB`\x82'}


def check_whole(content: bytes, path: str) -> None:
    """Refuse the content of an image file that ends too early.

    OpenCV fills the missing part of a cut file with grey and says nothing. Whole files may carry bytes after their end
    mark, so a missing mark is only a reason to look closer.

    Raises:
        ValueError: part of the image is missing.
    """
    ending = next((end for start, end in ENDINGS.items() if content.startswith(start)), None)
    if ending is None or content.endswith(ending):
        return
    try:
        Image.open(io.BytesIO(content)).load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path} is not a whole image, it may have been cut while copying: {error}') from None
