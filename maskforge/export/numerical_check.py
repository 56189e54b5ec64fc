"""Running an exported file in onnxruntime beside the PyTorch module it came from."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from maskforge.checkpoints import is_encrypted, open_decrypted
from maskforge.export.export_report import OutputDifference
from maskforge.export.onnx_metadata import require
from maskforge.structures import ExportSpec

DEFAULT_TOLERANCE = 1e-3
# Rows wider than this (masks) do not take part in matching rows; boxes, scores and labels do.
MATCHING_WIDTH = 8


def open_session(path: Path | str, *, threads: int = 0):
    """An onnxruntime session on the CPU (CUDA first where that build of onnxruntime is installed).

    Args:
        path: the ONNX file; an encrypted one is decrypted in memory.
        threads: 0 lets onnxruntime choose.
    """
    runtime = require('onnxruntime')
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: there is no such ONNX file.')
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    available = runtime.get_available_providers()
    providers = [name for name in ('CUDAExecutionProvider', 'CPUExecutionProvider') if name in available]
    model = str(path)
    if is_encrypted(path):
        with open_decrypted(path) as stream:
            model = stream.read()
    try:
        return runtime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f'{path}: onnxruntime cannot open this file ({reason}).') from error


NamedBatch = tuple[Sequence[str], np.ndarray]


def compare(spec: ExportSpec, path: Path, batches: Sequence[NamedBatch]) -> list[OutputDifference]:
    """Run every batch through both sides.

    Args:
        spec: what was exported; its module runs on the CPU.
        path: the file.
        batches: image names and float32 (B, 3, H, W) each.
    """
    session = open_session(path)
    found: list[OutputDifference] = []
    for images, array in batches:
        batch = torch.from_numpy(array)
        with torch.no_grad():
            calls = [(batch,)] if spec.inputs_of is None else spec.inputs_of(batch)
        for inputs in calls:
            with torch.no_grad():
                wanted = [output.detach().cpu().numpy() for output in spec.module(*inputs)]
            given = dict(zip(spec.input_names, (value.numpy() for value in inputs)))
            found += compare_outputs(spec, images, wanted, session.run(list(spec.output_names), given))
    return found


def compare_outputs(spec: ExportSpec, images: Sequence[str], wanted: Sequence[np.ndarray],
                    got: Sequence[np.ndarray]) -> list[OutputDifference]:
    """Differences of one batch, row by row where ``spec.valid_output`` marks the valid rows.

    Rows of nearly equal score may change places between the two runtimes: valid rows are matched to each other by
    their short outputs (boxes, scores, labels) before they are compared.
    """
    ours, theirs, note = dict(zip(spec.output_names, wanted)), dict(zip(spec.output_names, got)), ''
    rows = dict.fromkeys(spec.output_names)
    if spec.unordered:
        theirs.update(_reordered({name: ours[name] for name in spec.unordered},
                                 {name: theirs[name] for name in spec.unordered}))
    if spec.valid_output:
        names = list(spec.row_outputs) or [name for name in spec.output_names if name not in spec.unordered]
        left, right, count, note = _valid_rows([ours[name] for name in names], [theirs[name] for name in names],
                                               names.index(spec.valid_output))
        ours.update(zip(names, left))
        theirs.update(zip(names, right))
        rows.update(dict.fromkeys(names, count))
    return [_difference(spec, images, name, ours[name], theirs[name], rows[name], '' if rows[name] is None else note)
            for name in spec.output_names]


def _reordered(wanted: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``got`` with the rows of each image in the order of ``wanted``."""
    if any(wanted[name].shape != got[name].shape for name in wanted):
        return got
    images = [_matched([array[image] for array in wanted.values()], [array[image] for array in got.values()])[1]
              for image in range(len(next(iter(wanted.values()))))]
    return {name: np.stack(arrays) for name, arrays in zip(got, zip(*images))}


def _valid_rows(wanted: list[np.ndarray], got: list[np.ndarray],
                which: int) -> tuple[list[np.ndarray], list[np.ndarray], int, str]:
    ours, theirs, notes = [[] for _ in wanted], [[] for _ in got], []
    for image, (left, right) in enumerate(zip(wanted[which] > 0, got[which] > 0)):
        if left.sum() != right.sum():
            notes.append(f'image {image}: {right.sum()} valid rows instead of {left.sum()}')
            continue
        first, second = _matched([a[image][left] for a in wanted], [a[image][right] for a in got])
        for store, rows in ((ours, first), (theirs, second)):
            for column, row in zip(store, rows):
                column.append(row)
    join = [[np.concatenate(column) if column else np.zeros((0,)) for column in side] for side in (ours, theirs)]
    return join[0], join[1], len(join[0][which]), '; '.join(notes)


def _matched(wanted: list[np.ndarray], got: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    cost = 0.0
    for ours, theirs in zip(wanted, got):
        if ours.shape != theirs.shape:
            return wanted, got
        flat, other = ours.reshape(len(ours), -1).astype(np.float64), theirs.reshape(len(theirs), -1)
        if flat.shape[1] <= MATCHING_WIDTH:
            cost = cost + np.abs(flat[:, None] - other[None]).sum(-1)
    if np.ndim(cost) != 2 or not np.isfinite(cost).all():
        return wanted, got
    order = linear_sum_assignment(cost)[1]
    return wanted, [theirs[order] for theirs in got]


def _difference(spec: ExportSpec, images: Sequence[str], name: str, ours: np.ndarray, theirs: np.ndarray,
                rows: int | None, note: str) -> OutputDifference:
    tolerance = spec.differing.get(name, spec.tolerance.get(name, DEFAULT_TOLERANCE))
    rows = len(ours) if rows is None else rows
    if ours.shape != theirs.shape:
        note = note or f'shape {theirs.shape} instead of {ours.shape}'
        return OutputDifference(images, name, theirs.shape, float('nan'), float('nan'), tolerance, rows, note)
    if name in spec.differing:
        largest = mean = float(np.mean(ours != theirs)) if ours.size else 0.0
    else:
        gap = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        largest, mean = (float(gap.max()), float(gap.mean())) if gap.size else (0.0, 0.0)
    return OutputDifference(images, name, theirs.shape, largest, mean, tolerance, rows, note)
