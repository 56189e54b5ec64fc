"""The loop behind ``Runner.export()``: weights in, a checked ONNX file out."""
import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from maskforge import __version__
from maskforge.checkpoints import is_encrypted, load_checkpoint, load_weights
from maskforge.export.check_images import find_check_images, make_batches
from maskforge.export.export_report import ExportReport
from maskforge.export.grey_input import with_grey_input
from maskforge.export.numerical_check import compare
from maskforge.export.onnx_writer import write_onnx
from maskforge.export.preprocessing import Preprocessing, describe_preprocessing, find_resize
from maskforge.registry import LOOPS
from maskforge.structures import ExportSpec

WARNING = 30


@LOOPS.register_module()
class ExportLoop:
    """Write the model as ONNX, run the file on real images, compare with PyTorch.

    Args:
        runner: gives model, config, work directory and weights (``load_from``).
        onnx_file: where to write; None: ``<work_dir>/<config name>.onnx``.
        checkpoint: weights to load; None: the runner's ``load_from`` or ``resume``.
        opset_version: operator set of the file; another one in the result is an error.
        exporter: ``'auto'``: torch's dynamo exporter for opset 18 and above, the TorchScript exporter below.
        input_height, input_width: pixels; None: the model's ``input_size``, if it has one, or the scale of the test
            pipeline, rounded up to the pad divisor.
        input_channel: 3, or 1 for a file that takes grey images and repeats the channel inside.
        batch_size: -1 leaves the batch dynamic.
        dynamic_size: leave height and width dynamic as well.
        check: compare with PyTorch; a difference above the model's tolerance is an error.
        check_images: paths or folders to compare on; None: the first images of the test or validation data.
        num_check_images: how many of them.
        on_cpu: a file that runs on any runtime; False asks the model for its TensorRT plugin nodes.
        model_options: further options of the model's ``export_spec``.

    Raises:
        ValueError: an option that the model's ``export_spec`` does not take, a size that does not fit.
    """

    def __init__(self, runner: Any, *, onnx_file: str | None = None, checkpoint: str | None = None,
                 opset_version: int = 17, exporter: str = 'auto', input_height: int | None = None,
                 input_width: int | None = None, input_channel: int = 3, batch_size: int = -1,
                 dynamic_size: bool = False, check: bool = True, check_images: str | Sequence[str] | None = None,
                 num_check_images: int = 2, on_cpu: bool = True, model_options: dict | None = None) -> None:
        if batch_size == 0 or batch_size < -1:
            raise ValueError(f'export_cfg.batch_size={batch_size} must be -1 (dynamic) or at least 1.')
        if input_channel not in (1, 3):
            raise ValueError(f'export_cfg.input_channel={input_channel} is neither 3 (colour) nor 1 (grey).')
        self.input_channel = input_channel
        self.runner, self.onnx_file, self.checkpoint = runner, onnx_file, checkpoint
        self.opset_version, self.exporter, self.batch_size = opset_version, exporter, batch_size
        self.input_height, self.input_width, self.dynamic_size = input_height, input_width, dynamic_size
        self.check, self.check_images, self.num_check_images = check, check_images, num_check_images
        self.options = dict(on_cpu=on_cpu, dynamic_size=dynamic_size, opset_version=opset_version,
                            **(model_options or {}))

    def run(self) -> ExportReport | dict[str, ExportReport]:
        """Load, export, check; return the report, or those of a model of several files by name.

        The files of such a model are called ``<file>.<name>.onnx``.

        Raises:
            RuntimeError: torch or onnx refused, or the numerical check failed (the file is then named
                ``*.failed.onnx``).
        """
        specs = self._specs(self._model_with_weights())
        if isinstance(specs, ExportSpec):
            return self._export(specs, self._target())
        target = self._target()
        return {name: self._export(spec, target.with_name(f'{target.stem}.{name}{target.suffix or ".onnx"}'))
                for name, spec in specs.items()}

    def _export(self, spec: ExportSpec, target: Path) -> ExportReport:
        if self.input_channel == 1:
            spec = with_grey_input(spec)
        preprocessing = Preprocessing.from_metadata(spec.metadata)
        path = write_onnx(spec, target, opset=self.opset_version, exporter=self.exporter)
        report = self._checked(spec, preprocessing, path)
        print_log(f'Exported {report.onnx_file} (opset {report.opset}, {path.stat().st_size / 2**20:.1f} MiB'
                  f'{", encrypted" if is_encrypted(path) else ""})'
                  if report.passed else f'Export of {path} failed', logger='current')
        return self._concluded(report)

    def _target(self) -> Path:
        if self.onnx_file:
            return Path(self.onnx_file)
        name = Path(self.runner.cfg.filename).stem if getattr(self.runner.cfg, 'filename', None) else 'model'
        return Path(self.runner.work_dir) / f'{name}.onnx'

    def _model_with_weights(self) -> nn.Module:
        source = self.checkpoint or self.runner._load_from
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        if not source:
            print_log('export: neither export_cfg.checkpoint nor load_from is set: the file gets untrained weights',
                      logger='current', level=WARNING)
        elif self.checkpoint:
            print_log(load_weights(model, self.checkpoint).summary(), logger='current')
        else:
            self.runner.load_or_resume()
        if source and not (getattr(model, 'dataset_meta', None) or {}).get('classes'):
            model.dataset_meta = dict((load_checkpoint(source).get('meta') or {}).get('dataset_meta') or {})
        return model.cpu().eval()

    def _specs(self, model: nn.Module) -> ExportSpec | dict[str, ExportSpec]:
        if not hasattr(model, 'export_spec'):
            raise ValueError(f'{type(model).__name__} cannot be exported: it has no export_spec(*, height, width, '
                             f'batch_size) method that returns a maskforge.structures.ExportSpec.')
        height, width = self._input_size(model)
        options = _accepted(model, self.options)
        with torch.no_grad():
            found = model.export_spec(height=height, width=width, batch_size=self.batch_size, **options)
        if isinstance(found, ExportSpec):
            return self._with_facts(found, model, (height, width))
        return {name: self._with_facts(spec, model, (height, width)) for name, spec in found.items()}

    def _with_facts(self, spec: ExportSpec, model: nn.Module, size: tuple[int, int]) -> ExportSpec:
        rule = describe_preprocessing(model.data_preprocessor, self._test_pipeline(),
                                      None if self.dynamic_size else size)
        facts = dict(producer=f'maskforge {__version__}', task='unknown', preprocessing=rule.to_metadata(),
                     batch_size=self.batch_size, outputs=dict.fromkeys(spec.output_names, ''),
                     **class_facts(getattr(model, 'dataset_meta', None), self.runner.cfg))
        facts['preprocessing'].update(spec.metadata.get('preprocessing', {}))
        kept = {key: value for key, value in spec.metadata.items()
                if key != 'preprocessing' and value not in (None, [], {})}
        return replace(spec, metadata={**facts, **kept})

    def _input_size(self, model: nn.Module) -> tuple[int, int]:
        scale = find_resize(self._test_pipeline()).get('scale')
        own = getattr(model, 'input_size', None) or (None, None)
        height, width = self.input_height or own[0], self.input_width or own[1]
        if (height is None or width is None) and not scale:
            raise ValueError('export_cfg.input_height and input_width must be given: the test pipeline has no Resize '
                             'with a scale to take them from.')
        divisor = int(getattr(model.data_preprocessor, 'pad_size_divisor', 1))
        height = height or -(-min(scale) // divisor) * divisor
        width = width or -(-max(scale) // divisor) * divisor
        if height % divisor or width % divisor:
            raise ValueError(f'export_cfg.input_height={height} and input_width={width} must be multiples of the '
                             f"model's pad_size_divisor={divisor}.")
        return height, width

    def _test_pipeline(self) -> list[dict]:
        return find_test_pipeline(self.runner.cfg)

    def _checked(self, spec: ExportSpec, preprocessing: Preprocessing, path: Path) -> ExportReport:
        skipped = ''
        if not self.check:
            skipped = 'export_cfg.check=False'
        elif spec.plugins:
            skipped = f'onnxruntime does not know the plugin operators of {", ".join(spec.plugins)}'
        if skipped:
            print_log(f'export: the numerical check is skipped: {skipped}', logger='current', level=WARNING)
            return ExportReport(path, self.opset_version, skipped=skipped)
        images = find_check_images(self.runner.cfg, self.check_images, count=self.num_check_images)
        batches = make_batches(images, preprocessing, self.batch_size)
        return ExportReport(path, self.opset_version, compare(spec, path, batches))

    def _concluded(self, report: ExportReport) -> ExportReport:
        report.write()
        if report.differences:
            print_log('\n' + report.table(), logger='current')
            if not any(entry.rows for entry in report.differences):
                print_log('export: nothing was detected on the images of the check; export_cfg.check_images can name '
                          'images that show objects', logger='current', level=WARNING)
        if report.passed:
            return report
        failed = report.onnx_file.with_suffix('.failed.onnx')
        report.onnx_file.replace(failed)
        wrong = sorted({entry.output for entry in report.differences if not entry.passed})
        raise RuntimeError(f'The exported file differs from PyTorch in {", ".join(wrong)} (largest difference '
                           f'{report.largest_difference:.3g}; table above). It was kept as {failed}.')


def find_test_pipeline(cfg: Any) -> list[dict]:
    """The pipeline of the config's test (or validation) data set, through dataset wrappers; empty without one."""
    for key in ('test_dataloader', 'val_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset')
        while dataset is not None:
            if dataset.get('pipeline'):
                return list(dataset['pipeline'])
            inner = dataset.get('dataset') or dataset.get('datasets')
            dataset = inner[0] if isinstance(inner, (list, tuple)) else inner
    return list(cfg.get('test_pipeline') or [])


def class_facts(meta: dict | None, cfg: Any) -> dict[str, Any]:
    """``classes``, ``category_ids`` and ``palette`` of the weights, else of the config's data set, else empty."""
    if not meta or not meta.get('classes'):
        dataset = (cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}).get('dataset') or {}
        meta = dataset.get('metainfo') or {}
    classes = [str(name) for name in meta.get('classes') or ()]
    ids = meta.get('category_ids')
    return dict(classes=classes, category_ids=[int(i) for i in ids] if ids else list(range(1, len(classes) + 1)),
                palette=[[int(v) for v in colour] for colour in meta.get('palette') or ()])


def _accepted(model: nn.Module, options: dict[str, Any]) -> dict[str, Any]:
    """The options that ``export_spec`` takes; one that it does not take must have its default value."""
    parameters = inspect.signature(model.export_spec).parameters
    if any(entry.kind is inspect.Parameter.VAR_KEYWORD for entry in parameters.values()):
        return options
    # a model that does not care about the opset need not take it
    defaults = dict(on_cpu=True, dynamic_size=False, opset_version=options.get('opset_version'))
    for name, value in options.items():
        if name not in parameters and value != defaults.get(name, inspect.Parameter.empty):
            raise ValueError(f'export_cfg: {type(model).__name__} does not take {name}={value!r}; its options are '
                             f'{", ".join(parameters)}.')
    return {name: value for name, value in options.items() if name in parameters}
