"""What a model hands to the exporter: a plain module, and all that the file must say about itself."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class ExportSpec:
    """Contract between ``model.export_spec(...)`` and ``maskforge.export``.

    A model of several files returns a dict of them by name; the first takes images.

    Attributes:
        module: takes ``example_inputs`` as positional tensors and returns a tuple of tensors, one per output name.
        example_inputs: tensors to trace with (images: float32 (B, 3, H, W), RGB or BGR as metadata says, 0 to 255).
        input_names, output_names: names in the file.
        dynamic_axes: ``{name: {axis: symbol}}``, as ``torch.onnx.export`` takes it; empty for a fixed file.
        metadata: JSON-able facts stored in the file: task, classes, category_ids, preprocessing, output meanings.
        tolerance: largest allowed absolute difference to PyTorch per output name; the check fails above it.
        differing: largest share of entries that may differ at all, in the place of a tolerance, for outputs of indices
            (class maps, binary masks).
        valid_output: name of the output whose positive entries mark valid rows of fixed-count outputs, or None.
        row_outputs: the outputs that have those rows (axis 1); empty: all that are not ``unordered``.
        unordered: names of outputs whose rows (axis 1) may change places together, such as queries; compared as sets.
        inputs_of: how the numerical check gets inputs from a batch of images, for a module that takes something else: a
            list of calls; None: the batch is the only input.
        plugins: custom operator domains that onnxruntime does not know; the numerical check is skipped and said so.
    """

    module: nn.Module
    example_inputs: tuple[Tensor, ...]
    input_names: Sequence[str]
    output_names: Sequence[str]
    dynamic_axes: dict[str, dict[int, str]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    tolerance: dict[str, float] = field(default_factory=dict)
    differing: dict[str, float] = field(default_factory=dict)
    valid_output: str | None = None
    row_outputs: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    inputs_of: Callable[[Tensor], list[tuple[Tensor, ...]]] | None = None
    plugins: tuple[str, ...] = ()
