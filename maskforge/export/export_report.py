"""What an export has produced and how far it is from PyTorch."""
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from terminaltables import AsciiTable


@dataclass(frozen=True)
class OutputDifference:
    """One output on one batch of images.

    Attributes:
        images: names of the images of the batch.
        output: name of the output.
        shape: shape of the output in the file.
        largest, mean: absolute difference to PyTorch over the valid rows; 0 where there are none. Of class maps and
            binary masks both are the share of entries that differ.
        tolerance: largest difference that passes.
        rows: valid rows that were compared.
        note: why it failed whatever the numbers say (another shape, another number of valid rows), or ''.
    """

    images: Sequence[str]
    output: str
    shape: tuple[int, ...]
    largest: float
    mean: float
    tolerance: float
    rows: int
    note: str = ''

    @property
    def passed(self) -> bool:
        """Whether this output is close enough (a NaN is not)."""
        return not self.note and self.largest <= self.tolerance


@dataclass(frozen=True)
class ExportReport:
    """Result of :meth:`maskforge.export.ExportLoop.run`.

    Attributes:
        onnx_file: where the file lies.
        opset: operator set of the file.
        differences: one entry per output and batch; empty if the check was skipped.
        skipped: why the check was skipped, or ''.
    """

    onnx_file: Path
    opset: int
    differences: list[OutputDifference] = field(default_factory=list)
    skipped: str = ''

    @property
    def passed(self) -> bool:
        """Whether every compared output is within its tolerance."""
        return all(entry.passed for entry in self.differences)

    @property
    def largest_difference(self) -> float:
        """The largest absolute difference of all outputs; 0 without a check."""
        return max((entry.largest for entry in self.differences), default=0.0)

    def table(self) -> str:
        """The differences as a text table."""
        rows = [['images', 'output', 'shape', 'rows', 'max |diff|', 'mean |diff|', 'allowed', '']]
        for entry in self.differences:
            images = ', '.join(entry.images[:2]) + (f' +{len(entry.images) - 2}' if len(entry.images) > 2 else '')
            verdict = 'ok' if entry.passed else f'FAILED {entry.note}'.strip()
            rows.append([images, entry.output, 'x'.join(map(str, entry.shape)), str(entry.rows),
                         f'{entry.largest:.3g}', f'{entry.mean:.3g}', f'{entry.tolerance:.3g}', verdict])
        return AsciiTable(rows, title=f'ONNX against PyTorch: {self.onnx_file.name}, opset {self.opset}').table

    def write(self) -> Path:
        """Write the report beside the file, as ``<name>.check.json``, and return its path."""
        content = dict(onnx_file=self.onnx_file.name, opset=self.opset, passed=self.passed, skipped=self.skipped,
                       largest_difference=self.largest_difference,
                       differences=[asdict(entry) for entry in self.differences])
        path = self.onnx_file.with_suffix('.check.json')
        path.write_text(json.dumps(content, indent=1), encoding='utf-8')
        return path
