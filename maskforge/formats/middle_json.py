"""MMDetection's middle format and MMEngine's ``metainfo`` + ``data_list`` format, from JSON or a harmless pickle.

The middle format is a list of ``dict(filename, width, height, ann=dict(bboxes (N, 4) xyxy, labels (N,),
bboxes_ignore (M, 4), labels_ignore (M,), masks (N polygons or RLEs)))``, the last three optional.
"""
import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .json_file import read_json, require_file, write_json

#: what a pickle of plain records needs; anything else could run code when it is loaded
_SAFE_GLOBALS = {
    ('numpy', 'ndarray'), ('numpy', 'dtype'), ('collections', 'OrderedDict'),
    ('numpy.core.multiarray', '_reconstruct'), ('numpy._core.multiarray', '_reconstruct'),
    ('numpy.core.multiarray', 'scalar'), ('numpy._core.multiarray', 'scalar'),
    ('numpy.core.numeric', '_frombuffer'), ('numpy._core.numeric', '_frombuffer'),
}


@dataclass
class MiddleFile:
    """One file: its meta information and its records ``dict(img_path, height, width, instances)``.

    An instance is ``dict(bbox [x0, y0, x1, y1], bbox_label, ignore_flag)``, with ``mask`` where there is one.
    """

    path: str
    metainfo: dict[str, Any] = field(default_factory=dict)
    records: list[dict] = field(default_factory=list)


def read_middle(path: str | Path, *, backend_args: dict | None = None) -> MiddleFile:
    """Read a file in either format (``.pkl`` and ``.pickle`` as pickles, everything else as JSON).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is broken, unsafe, or a record lacks something; the message names the record.
    """
    is_pickle = str(path).endswith(('.pkl', '.pickle'))
    data = read_plain_pickle(path) if is_pickle else read_json(path, backend_args=backend_args)
    if isinstance(data, list):
        return MiddleFile(str(path), {}, [_from_middle(raw, f'{path}: record {i}') for i, raw in enumerate(data)])
    if isinstance(data, dict) and isinstance(data.get('data_list'), list):
        records = [_from_openmmlab(raw, f'{path}: data_list[{i}]') for i, raw in enumerate(data['data_list'])]
        return MiddleFile(str(path), dict(data.get('metainfo', {})), records)
    raise ValueError(f"{path} holds a {type(data).__name__} without 'data_list'; a list of dict(filename, width, "
                     'height, ann), or an object with metainfo and data_list, is needed.')


def write_middle(path: str | Path, records: list[dict]) -> None:
    """Write a list in the middle format as JSON; arrays become lists."""
    write_json(_plain(records), path)


def read_plain_pickle(path: str | Path) -> Any:
    """Load a pickle that holds only plain containers, numbers, strings and NumPy arrays.

    Raises:
        ValueError: it asks for anything else (loading it could run code), or it is broken.
    """
    content = require_file(path).read_bytes()
    try:
        return load_plain(content)
    except (EOFError, pickle.UnpicklingError, AttributeError, ImportError, IndexError) as error:
        raise ValueError(f'{path} cannot be loaded as a plain pickle: {error}. Save the records as JSON.') from None


def load_plain(content: bytes) -> Any:
    """Unpickle plain containers, numbers, strings and NumPy arrays; ``pickle.UnpicklingError`` at anything else."""
    return _PlainUnpickler(io.BytesIO(content)).load()


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE_GLOBALS:
            raise pickle.UnpicklingError(f'it refers to {module}.{name}, which could run code')
        return super().find_class(module, name)


def _from_middle(raw: Any, place: str) -> dict:
    _require(raw, ('filename', 'width', 'height'), place)
    annotations = raw.get('ann') or {}
    if annotations:
        _require(annotations, ('bboxes', 'labels'), f'{place} ann')
    instances = _rows(annotations, 'bboxes', 'labels', ignore=0, place=place)
    masks = annotations.get('masks')
    if masks is not None:
        if len(masks) != len(instances):
            raise ValueError(f'{place} has {len(masks)} masks for {len(instances)} boxes.')
        for instance, mask in zip(instances, masks):
            instance['mask'] = mask
    instances += _rows(annotations, 'bboxes_ignore', 'labels_ignore', ignore=1, place=place)
    return dict(img_path=raw['filename'], height=int(raw['height']), width=int(raw['width']), instances=instances)


def _rows(annotations: dict, boxes_key: str, labels_key: str, *, ignore: int, place: str) -> list[dict]:
    boxes = np.asarray(annotations.get(boxes_key, ()), np.float64)
    boxes = boxes.reshape(-1, 4) if boxes.size % 4 == 0 else boxes
    labels = np.asarray(annotations.get(labels_key, np.zeros(len(boxes))), np.int64).reshape(-1)
    if boxes.ndim != 2 or len(labels) != len(boxes):
        raise ValueError(f'{place}: {boxes_key} of shape {boxes.shape} and {len(labels)} {labels_key} do not fit; '
                         f'(N, 4) and N are needed.')
    return [dict(bbox=box, bbox_label=label, ignore_flag=ignore) for box, label in zip(boxes.tolist(), labels.tolist())]


def _from_openmmlab(raw: Any, place: str) -> dict:
    _require(raw, ('img_path', 'height', 'width', 'instances'), place)
    for number, instance in enumerate(raw['instances']):
        _require(instance, ('bbox', 'bbox_label'), f'{place} instances[{number}]')
        if len(instance['bbox']) != 4:
            raise ValueError(f'{place} instances[{number}]: bbox is {instance["bbox"]!r}; x0, y0, x1, y1 are needed.')
    instances = [{'ignore_flag': 0, **instance} for instance in raw['instances']]
    return {**raw, 'instances': instances}


def _require(raw: Any, keys: tuple[str, ...], place: str) -> None:
    if not isinstance(raw, dict):
        raise ValueError(f'{place} is a {type(raw).__name__}; a dict with {", ".join(keys)} is needed.')
    missing = [key for key in keys if key not in raw]
    if missing:
        raise ValueError(f"{place} has no '{missing[0]}' (its keys: {', '.join(map(str, raw)) or 'none'}).")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode('ascii')
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
