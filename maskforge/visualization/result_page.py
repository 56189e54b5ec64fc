"""One static HTML page of pictures, tables and notes: opens from disk, asks nothing of the network."""
import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from maskforge.formats.atomic_file import write_atomically

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1500px;padding:1.2rem}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.6rem 0 .5rem}
p.note{opacity:.75;margin:.2rem 0}
p.links{display:flex;flex-wrap:wrap;gap:.2rem .7rem}
table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid var(--line);padding:.25rem .6rem;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}
.bar{position:sticky;top:0;background:Canvas;padding:.5rem 0;display:flex;flex-wrap:wrap;gap:.4rem;z-index:1}
.bar{align-items:center}
.bar input{font:inherit;padding:.25rem .5rem;min-width:14rem}
.bar button{font:inherit;border:1px solid var(--line);background:var(--soft);border-radius:1rem;cursor:pointer}
.bar button{padding:.1rem .7rem}
.bar button.on{background:#2a6df4;color:#fff;border-color:#2a6df4}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:.8rem}
.wide{grid-template-columns:repeat(auto-fill,minmax(460px,1fr))}
figure{margin:0;border:1px solid var(--line);border-radius:6px;overflow:hidden;background:var(--soft)}
figure img{width:100%;height:240px;object-fit:contain;display:block;cursor:zoom-in;background:#0002}
.wide figure img{height:340px}
figcaption{padding:.35rem .5rem;font-size:.82rem;overflow-wrap:anywhere}
figure[hidden]{display:none}
#zoom{position:fixed;inset:0;background:#000d;display:none;align-items:center;justify-content:center;z-index:9}
#zoom{cursor:zoom-out}
#zoom img{max-width:98vw;max-height:98vh;min-height:60vh;object-fit:contain;background:#fff1}
"""

_SCRIPT = """
const box=document.getElementById('words'),count=document.getElementById('count'),zoom=document.getElementById('zoom');
const figures=[...document.querySelectorAll('.grid.filtered figure')],on=new Set();
function update(){const words=box?box.value.toLowerCase().split(/\\s+/).filter(Boolean):[];let shown=0;
 for(const f of figures){const text=f.textContent.toLowerCase(),tags=JSON.parse(f.dataset.tags);
  f.hidden=!(words.every(w=>text.includes(w))&&[...on].every(t=>tags.includes(t)));shown+=!f.hidden}
 if(count)count.textContent=shown+' of '+figures.length}
if(box)box.addEventListener('input',update);
for(const b of document.querySelectorAll('.bar button'))b.addEventListener('click',()=>{const t=b.dataset.tag;
 on.has(t)?on.delete(t):on.add(t);b.classList.toggle('on');update()});
let open=-1;const all=[...document.querySelectorAll('figure img')];
function show(i){open=i;zoom.firstChild.src=all[i].src;zoom.style.display='flex'}
all.forEach((img,i)=>img.addEventListener('click',()=>show(i)));
zoom.addEventListener('click',()=>{zoom.style.display='none';open=-1});
addEventListener('keydown',e=>{if(open<0)return;if(e.key==='Escape'){zoom.click();return}
 const step={ArrowRight:1,ArrowLeft:-1}[e.key];if(!step)return;
 for(let i=open+step;i>=0&&i<all.length;i+=step)if(!all[i].closest('figure').hidden){show(i);break}});
update();
"""


class _Picture(NamedTuple):
    data: bytes
    kind: str
    caption: str
    tags: Sequence[str]
    link: str | None


class ResultPage:
    """Collects sections in order and writes them as one page.

    Args:
        title: the page's heading.
        embed: pictures inside the file (one file to send around); False writes them into a folder beside it.
        quality: JPEG quality of pictures, 1 to 100.
        max_side: pictures with a longer side above this are shrunk.
    """

    def __init__(self, title: str, *, embed: bool = True, quality: int = 85, max_side: int = 1280) -> None:
        self.title, self.embed, self.quality, self.max_side = title, embed, quality, max_side
        self._parts: list[str | list[_Picture]] = []

    def add_heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f'<h2>{html.escape(text)}</h2>')

    def add_note(self, text: str) -> None:
        """Add a line of text."""
        self._parts.append(f'<p class="note">{html.escape(text)}</p>')

    def add_table(self, rows: Sequence[Sequence], *, header: Sequence[str] | None = None) -> None:
        """Add a table; floats are shown with four digits."""
        head = '<tr>' + ''.join(f'<th>{html.escape(str(cell))}</th>' for cell in header) + '</tr>' if header else ''
        body = ''.join('<tr>' + ''.join(_cell(cell) for cell in row) + '</tr>' for row in rows)
        self._parts.append(f'<table>{head}{body}</table>')

    def add_values(self, values: Mapping[str, object]) -> None:
        """Add a two-column table of names and values."""
        self.add_table(list(values.items()))

    def add_links(self, links: Mapping[str, str | None]) -> None:
        """Add a line of links, text to address; text without an address (the page itself) stands as it is."""
        parts = [f'<a href="{html.escape(target, quote=True)}">{html.escape(text)}</a>' if target else
                 f'<b>{html.escape(text)}</b>' for text, target in links.items()]
        self._parts.append(f'<p class="links">{" ".join(parts)}</p>')

    def add_picture(self, image: np.ndarray | str | Path, caption: str = '', *, tags: Sequence[str] = (),
                    link: str | None = None) -> None:
        """Add a picture; neighbouring pictures form one grid, and tags become its filter buttons.

        Args:
            image: (H, W, 3) uint8 BGR, or an image file.
            caption: shown below and searched by the filter.
            tags: for example the classes in the picture.
            link: address that the caption leads to.
        """
        data, kind = self._encode(image)
        if not self._parts or not isinstance(self._parts[-1], list):
            self._parts.append([])
        self._parts[-1].append(_Picture(data, kind, caption, list(dict.fromkeys(tags)), link))

    def write(self, path: str | Path) -> Path:
        """Write the page (and, without ``embed``, the folder ``<name>_files`` beside it) and return its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.with_name(f'{path.stem}_files')
        body, number = [], 0
        filtered = [part for part in self._parts if isinstance(part, list) and _filtered(part)]
        for part in self._parts:
            if isinstance(part, str):
                body.append(part)
                continue
            if filtered and part is filtered[0]:
                body.append(_filter_bar(sorted({tag for found in filtered for shown in found for tag in shown.tags})))
            links = [self._link(shown.data, shown.kind, folder, number + i) for i, shown in enumerate(part)]
            number += len(part)
            body.append(_grid(part, links))
        text = (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
                f'content="width=device-width"><title>{html.escape(self.title)}</title><style>{_STYLE}</style></head>'
                f'<body><h1>{html.escape(self.title)}</h1>{"".join(body)}<div id="zoom"><img alt=""></div>'
                f'<script>{_SCRIPT}</script></body></html>')
        return write_atomically(path, text.encode())

    def _link(self, data: bytes, kind: str, folder: Path, number: int) -> str:
        if self.embed:
            return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
        folder.mkdir(exist_ok=True)
        name = f'{number:05d}.{"jpg" if kind == "jpeg" else kind}'
        (folder / name).write_bytes(data)
        return f'{folder.name}/{name}'

    def _encode(self, image: np.ndarray | str | Path) -> tuple[bytes, str]:
        """Bytes of the picture and its kind; PNG files (plots) stay as they are."""
        if not isinstance(image, np.ndarray):
            path = Path(image)
            if path.suffix.lower() == '.png':
                return path.read_bytes(), 'png'
            image = cv2.imread(str(path))
            if image is None:
                raise ValueError(f'{path}: not a readable image.')
        longest = max(image.shape[:2])
        if longest > self.max_side:
            factor = self.max_side / longest
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1].tobytes(), 'jpeg'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4f}</td>'
    number = ' class="number"' if isinstance(value, int) and not isinstance(value, bool) else ''
    return f'<td{number}>{html.escape(str(value))}</td>'


def _filtered(pictures: Sequence[_Picture]) -> bool:
    """Whether a grid takes part in filtering: its pictures have tags, or it is long."""
    return len(pictures) > 8 or any(picture.tags for picture in pictures)


def _filter_bar(tags: Sequence[str]) -> str:
    buttons = ''.join(f'<button data-tag="{html.escape(tag, quote=True)}">{html.escape(tag)}</button>' for tag in tags)
    return f'<div class="bar"><input id="words" placeholder="filter by text"><span id="count"></span>{buttons}</div>'


def _grid(pictures: Sequence[_Picture], sources: Sequence[str]) -> str:
    figures = ''.join(
        f'<figure data-tags="{html.escape(json.dumps(shown.tags), quote=True)}"><img loading="lazy" src="{source}" '
        f'alt="{html.escape(shown.caption, quote=True)}"><figcaption>{_caption(shown)}</figcaption></figure>'
        for shown, source in zip(pictures, sources))
    return f'<div class="grid {"filtered" if _filtered(pictures) else "wide"}">{figures}</div>'


def _caption(shown: _Picture) -> str:
    text = html.escape(shown.caption)
    return f'<a href="{html.escape(shown.link, quote=True)}">{text}</a>' if shown.link else text
