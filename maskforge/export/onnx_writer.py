"""Writing an :class:`~maskforge.structures.ExportSpec` as an ONNX file of exactly the opset that was asked for."""
import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from maskforge.checkpoints import current_key, encrypted, write_atomically
from maskforge.export.onnx_metadata import require, write_metadata
from maskforge.export.small_constants import kept_small_constants
from maskforge.structures import ExportSpec

# torch 2.15's dynamo exporter writes opset 18 and above; asked for 17 it writes 18 with a warning.
FIRST_DYNAMO_OPSET = 18
FIRST_OPSET, LAST_OPSET, LAST_TORCHSCRIPT_OPSET = 11, 23, 20
NOISY_LOGGERS = ('torch.onnx', 'torch.export', 'onnxscript', 'onnx_ir', 'torch.fx', 'torch.onnx._internal')


def write_onnx(spec: ExportSpec, path: Path, *, opset: int, exporter: str = 'auto') -> Path:
    """Trace ``spec.module`` and write ``path`` with metadata; the file passes ``onnx.checker``.

    Args:
        spec: see :class:`ExportSpec`.
        path: file to write; its folder is created. It appears complete or not at all, and encrypted where a key is
            set (:mod:`maskforge.checkpoints.encryption_key`).
        opset: version of the default operator domain.
        exporter: ``'dynamo'`` (opset 18 and above), ``'torchscript'`` (up to 17) or ``'auto'``.

    Raises:
        ImportError: onnx or onnxscript is missing.
        ValueError: an opset out of range, an unknown exporter.
        RuntimeError: torch could not export; the file's opset is not the one asked for; the file is not valid.
    """
    onnx = require('onnx')
    use_dynamo = _choose(exporter, opset, spec)
    if use_dynamo:
        require('onnxscript')
    with contained_noise() as noise, torch.no_grad():
        try:
            # in memory: what is to be encrypted must not lie on the disk before
            model = _export_dynamo(spec, opset) if use_dynamo else _export_torchscript(onnx, spec, opset)
        except Exception as error:
            raise RuntimeError(f'torch could not export {type(spec.module).__name__} to opset {opset} with the '
                               f'{"dynamo" if use_dynamo else "TorchScript"} exporter: {_first_line(error)}\n'
                               f'{noise.getvalue()[-2000:]}') from error
    _check_opset(model, opset, path)
    _check_dynamic_axes(model, spec, path)
    write_metadata(model, spec.metadata)
    _check_model(onnx, model, spec, path)
    content = model.SerializeToString()
    return write_atomically(path, encrypted(lambda stream: stream.write(content), current_key()))


def _choose(exporter: str, opset: int, spec: ExportSpec) -> bool:
    if exporter not in ('auto', 'dynamo', 'torchscript'):
        raise ValueError(f"export_cfg.exporter='{exporter}' is not 'auto', 'dynamo' or 'torchscript'.")
    if not FIRST_OPSET <= opset <= LAST_OPSET:
        raise ValueError(f'export_cfg.opset_version={opset} is not in {FIRST_OPSET} to {LAST_OPSET}.')
    if spec.plugins and (exporter == 'dynamo' or opset > LAST_TORCHSCRIPT_OPSET):
        raise ValueError(f'export_cfg.on_cpu=False: plugin nodes are written by the TorchScript exporter, which ends '
                         f'at opset {LAST_TORCHSCRIPT_OPSET}; got exporter={exporter!r}, opset_version={opset}.')
    if exporter == 'auto':
        return opset >= FIRST_DYNAMO_OPSET and not spec.plugins
    return exporter == 'dynamo'


def _export_dynamo(spec: ExportSpec, opset: int) -> Any:
    inputs = tuple(_two_along_dynamic(tensor, spec.dynamic_axes.get(name, {}))
                   for name, tensor in zip(spec.input_names, spec.example_inputs))
    # names rather than torch.export.Dim: a Dim refuses whatever bound the network sets on its axis (a topk does)
    shapes = tuple(dict(spec.dynamic_axes.get(name, {})) or None for name in spec.input_names)
    dynamic = any(shapes)
    if any(entry.kind is entry.VAR_POSITIONAL for entry in inspect.signature(spec.module.forward).parameters.values()):
        shapes = (shapes,)  # *inputs are one argument
    with kept_small_constants(spec.module):
        program = torch.onnx.export(spec.module, inputs, None, opset_version=opset, dynamo=True, external_data=False,
                                    input_names=list(spec.input_names), output_names=list(spec.output_names),
                                    dynamic_shapes=shapes if dynamic else None, verbose=False)
    return program.model_proto


def _two_along_dynamic(tensor: torch.Tensor, axes: dict[int, str]) -> torch.Tensor:
    """torch.export takes an axis of length 1 for a constant: trace dynamic batches with two."""
    for axis in axes:
        if tensor.shape[axis] == 1:
            tensor = torch.cat([tensor, tensor], dim=axis)
    return tensor


def _export_torchscript(onnx: ModuleType, spec: ExportSpec, opset: int) -> Any:
    content = io.BytesIO()
    torch.onnx.export(spec.module, tuple(spec.example_inputs), content, opset_version=opset, dynamo=False,
                      input_names=list(spec.input_names), output_names=list(spec.output_names),
                      dynamic_axes=dict(spec.dynamic_axes) or None, verbose=False,
                      custom_opsets=dict.fromkeys(spec.plugins, 1) or None)
    return onnx.load_model_from_string(content.getvalue())


def _check_opset(model, asked: int, path: Path) -> None:
    written = next(entry.version for entry in model.opset_import if entry.domain in ('', 'ai.onnx'))
    if written != asked:
        raise RuntimeError(f'{path.name} would have opset {written}, but export_cfg.opset_version={asked} was asked '
                           f'for. Ask for {written}, or use export_cfg.exporter=\'torchscript\' for 17 and below.')


def _check_dynamic_axes(model, spec: ExportSpec, path: Path) -> None:
    """The dynamo exporter of torch 2.6 may fall back to a trace, which fixes dynamic axes in silence."""
    for value in model.graph.input:
        for axis, symbol in spec.dynamic_axes.get(value.name, {}).items():
            if not value.type.tensor_type.shape.dim[axis].dim_param:
                raise RuntimeError(f'{path.name}: torch {torch.__version__} fixed axis {axis} ({symbol}) of '
                                   f'{value.name}, which should be dynamic. Use a newer torch, an opset of 17 or below '
                                   f"(export_cfg.exporter='torchscript'), or a fixed export_cfg.batch_size.")


def _check_model(onnx, model, spec: ExportSpec, path: Path) -> None:
    try:
        onnx.checker.check_model(model, full_check=not spec.plugins)
    except onnx.checker.ValidationError as error:
        raise RuntimeError(f'{path.name} is not a valid ONNX file: {_first_line(error)}') from error
    names = [output.name for output in model.graph.output]
    if names != list(spec.output_names):
        raise RuntimeError(f'{path.name} has the outputs {names}, expected {list(spec.output_names)}.')


def _first_line(error: BaseException) -> str:
    return f'{type(error).__name__}: {(str(error).strip() or "no message").splitlines()[0]}'


@contextlib.contextmanager
def contained_noise() -> Iterator[io.StringIO]:
    """Keep the exporters' warnings, log lines and prints off the console; yields what they printed."""
    noise = io.StringIO()
    loggers = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
        warnings.simplefilter('ignore')
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield noise
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
