"""Files of panoptic segments and semantic maps, with the data set's own category ids.

``panoptic.json`` and the PNGs of ``panoptic/`` are the official format (see :mod:`maskforge.formats.panoptic_json`).
A pixel of a PNG in ``semantic/`` has the category id of its class: 8 bits where all ids fit, else 16.
"""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from maskforge.formats.panoptic_json import segment_records, write_panoptic_json
from maskforge.formats.panoptic_png import write_panoptic_png, write_png
from maskforge.inference.result_file import original_id
from maskforge.structures import DetDataSample, PanopticSegmentation
from maskforge.visualization import class_colors

PANOPTIC_NAME, PANOPTIC_FOLDER, SEMANTIC_FOLDER = 'panoptic.json', 'panoptic', 'semantic'


def above(found: PanopticSegmentation, min_score: float) -> PanopticSegmentation:
    """Return the segments that have at least this score; without scores, all of them."""
    return found if found.scores is None else found.select(found.scores >= min_score)


def write_panoptic_map(found: PanopticSegmentation, out_dir: Path, *, stem: str, min_score: float = 0.0) -> None:
    """Write the segments of one image to ``panoptic/<stem>.png``; those with a lower score are void."""
    write_panoptic_png(above(found, min_score).segments, out_dir / PANOPTIC_FOLDER / f'{stem}.png')


def panoptic_record(sample: DetDataSample, meta: Mapping[str, Any], *, stem: str,
                    min_score: float = 0.0) -> dict[str, Any]:
    """Return the record of ``panoptic.json`` that belongs to that PNG."""
    found = above(sample.pred_panoptic, min_score)
    ids = _category_ids(meta, found.labels)
    things = [_is_thing(label, meta) for label in found.labels.tolist()]
    return dict(image_id=int(sample.img_id), file_name=f'{stem}.png',
                segments_info=segment_records(found, ids[found.labels], np.array(things, bool)))


def write_panoptic_result(out_dir: Path, entries: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> None:
    """Write ``panoptic.json`` if any of the entries has segments.

    Args:
        entries: of images: ``image``, the COCO record, and ``panoptic``, see :func:`panoptic_record`.
    """
    whole = [entry for entry in entries if 'panoptic' in entry]
    if not whole:
        return
    classes = meta.get('classes') or ()
    colors = class_colors(meta.get('palette') or None, len(classes))
    ids = meta.get('category_ids') or ()
    categories = [dict(id=original_id(label, ids), name=name, isthing=int(_is_thing(label, meta)),
                       color=list(colors[label])) for label, name in enumerate(classes)]
    write_panoptic_json(out_dir / PANOPTIC_NAME, images=[entry['image'] for entry in whole],
                        annotations=[entry['panoptic'] for entry in whole], categories=categories)


def write_semantic_map(labels: Tensor, out_dir: Path, meta: Mapping[str, Any], *, stem: str) -> None:
    """Write (1, H, W) class indices as category ids to ``semantic/<stem>.png``.

    Raises:
        ValueError: an id that 16 bits do not hold.
    """
    indices = labels.squeeze(0).cpu().numpy()
    ids = _category_ids(meta, indices)
    if ids.min() < 0 or ids.max() >= 2**16:
        raise ValueError(f'the category ids {ids.min()} .. {ids.max()} do not fit into the PNG of a semantic map, '
                         f'which holds 0 .. {2**16 - 1}; give the classes other ids.')
    kind = np.uint8 if ids.max() < 2**8 else np.uint16
    write_png(ids.astype(kind)[indices], out_dir / SEMANTIC_FOLDER / f'{stem}.png')


def _category_ids(meta: Mapping[str, Any], labels: np.ndarray) -> np.ndarray:
    """Return the category id of every label of the model, or of ``labels`` where these go further."""
    known = meta.get('category_ids') or ()
    count = max(len(known), int(labels.max(initial=0)) + 1)
    return np.array([original_id(label, known) for label in range(count)], np.int64)


def _is_thing(label: int, meta: Mapping[str, Any]) -> bool:
    flags = meta.get('is_thing') or ()
    return bool(flags[label]) if label < len(flags) else True
