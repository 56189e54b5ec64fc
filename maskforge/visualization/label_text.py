"""Small text boxes for pictures: any script, no window system."""
import functools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CJK_FAMILIES = ('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Source Han Sans SC', 'WenQuanYi Micro Hei',
                 'WenQuanYi Zen Hei', 'Droid Sans Fallback', 'SimHei', 'Microsoft YaHei', 'PingFang SC',
                 'Arial Unicode MS')


@functools.lru_cache(maxsize=1)
def _font_files() -> tuple[Path, ...]:
    """Font files to try in order: the one that matplotlib ships, then installed ones that cover CJK."""
    import matplotlib
    from matplotlib.font_manager import fontManager
    shipped = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'
    installed = {entry.name: Path(entry.fname) for entry in fontManager.ttflist}
    return shipped, *(installed[name] for name in _CJK_FAMILIES if name in installed)


@functools.lru_cache(maxsize=16)
def _characters(path: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font
    return frozenset(FT2Font(str(path)).get_charmap())


def font_for(text: str) -> Path | None:
    """The first font that has every character of ``text``, or None."""
    needed = {ord(character) for character in text if not character.isspace()}
    return next((path for path in _font_files() if needed <= _characters(path)), None)


@functools.lru_cache(maxsize=64)
def _sized_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@functools.lru_cache(maxsize=1024)
def text_box(text: str, size: int, background: tuple[int, int, int],
             ink: tuple[int, int, int] | None = None) -> np.ndarray:
    """Draw ``text`` on a plain ground; (h, w, 3) uint8 in the channel order of ``background``.

    Args:
        text: must be drawable by one of the fonts (see :func:`font_for`); other characters become empty boxes.
        size: font size in pixels.
        background: colour of the ground.
        ink: colour of the text; black or white by default, whichever reads better on the ground.
    """
    font = _sized_font(font_for(text) or _font_files()[0], size)
    left, top, right, bottom = font.getbbox(text)
    # letters with and without descenders get boxes of one height
    ascent, descent = font.getmetrics()
    pad = max(size // 6, 1)
    picture = Image.new('RGB', (right - left + 2 * pad, max(ascent + descent, bottom - top) + pad), background)
    if ink is None:
        ink = (0, 0, 0) if sum(background) / 3 > 140 else (255, 255, 255)
    ImageDraw.Draw(picture).text((pad - left, pad // 2), text, fill=ink, font=font)
    return np.asarray(picture)
