"""From an image to the exported network's input: the rule that is stored in the file, and its application."""
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
from mmengine.config import ConfigDict

from maskforge.registry import TRANSFORMS

MAX_GREY = 255.0


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of an exported network; JSON in the file's metadata.

    Attributes:
        channel_order: ``'RGB'`` or ``'BGR'`` of the input tensor.
        mean, std: per channel in that order, grey levels; applied inside the network if ``normalized_inside``.
        scale: (width, height) bounds of the resize; the long side fits the larger, the short side the smaller.
        keep_ratio: resize by one factor, or exactly to ``scale``.
        pad_size_divisor: bottom and right are padded to a multiple of this.
        input_size: (height, width) of a fixed file; None where the size is dynamic.
        pad_value: grey levels of the padding per channel; None: the mean, which normalises to zero.
        pads: images of a batch may be padded to one size; False: the network takes the padding for image, so a fixed
            file gets stretched images, and only images of one size share a call.
        channels: 3, or 1 for a file that takes grey images.
        normalized_inside: the network takes grey levels 0 to 255 and normalises them itself.
    """

    channel_order: str = 'RGB'
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    scale: Sequence[int] | None = None
    keep_ratio: bool = True
    pad_size_divisor: int = 1
    input_size: Sequence[int] | None = None
    pad_value: Sequence[float] | None = None
    pads: bool = True
    channels: int = 3
    normalized_inside: bool = True
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> 'Preprocessing':
        """Read the entry ``preprocessing`` of a file's metadata; entries of a newer version are kept as notes."""
        given = dict(metadata.get('preprocessing', {}))
        known = {name: given.pop(name) for name in list(given) if name in cls.__dataclass_fields__ and name != 'notes'}
        return cls(**known, notes=given.pop('notes', {}) | given)

    def to_metadata(self) -> dict[str, Any]:
        """JSON-able form for the file."""
        return asdict(self)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """Resize, pad and order the channels of one image.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            float32 (3, h, w) and the factors (x, y) from the image to the input.
        """
        resized = cv2.resize(image, self._resized_size(image.shape[:2]), interpolation=cv2.INTER_LINEAR)
        factors = resized.shape[1] / image.shape[1], resized.shape[0] / image.shape[0]
        return self.pad(resized), factors

    def fit(self, image: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """As :meth:`prepare`, for an image that a test pipeline has resized: shrunk again only if it does not fit."""
        height, width = image.shape[:2]
        limit_h, limit_w = self.input_size or (height, width)
        if not self.pads:
            resized = image if image.shape[:2] == (limit_h, limit_w) else cv2.resize(image, (limit_w, limit_h))
            return self.pad(resized), (limit_w / width, limit_h / height)
        factor = min(1.0, limit_h / height, limit_w / width)
        if factor < 1.0:
            size = max(1, int(width * factor)), max(1, int(height * factor))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return self.pad(image), (image.shape[1] / width, image.shape[0] / height)

    def pad(self, image: np.ndarray) -> np.ndarray:
        """Order channels, pad bottom and right with what normalises to zero, return float32 (channels, h, w)."""
        if self.channels == 1:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        ordered = image[..., ::-1] if self.channel_order == 'RGB' else image
        height, width = self._padded_size(ordered.shape[:2])
        padded = np.empty((height, width, 3), dtype=np.float32)
        padded[:] = self._fill()
        padded[:image.shape[0], :image.shape[1]] = ordered
        if not self.normalized_inside:
            padded = self._normalized(padded)
        # a grey file repeats its channel, and normalises, inside
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[:self.channels])

    def groups(self, inputs: Sequence[np.ndarray], size: int | None) -> list[list[int]]:
        """Positions of inputs that share a call: at most ``size`` (None: any number), of one shape if need be."""
        found: dict[tuple, list[int]] = {}
        for index, array in enumerate(inputs):
            found.setdefault(() if self.pads else array.shape, []).append(index)
        return [rows[start:start + (size or len(rows))] for rows in found.values()
                for start in range(0, len(rows), size or len(rows))]

    def stack(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Batch inputs of several sizes: (B, 3, max h, max w), padded like :meth:`pad`."""
        height, width = (max(array.shape[axis] for array in inputs) for axis in (1, 2))
        fill = self._fill() if self.normalized_inside else self._normalized(self._fill())
        batch = np.empty((len(inputs), self.channels, height, width), np.float32)
        batch[:] = fill[None, :self.channels, None, None]
        for row, array in zip(batch, inputs):
            row[:, :array.shape[1], :array.shape[2]] = array
        return batch

    def _fill(self) -> np.ndarray:
        return np.asarray(self.mean if self.pad_value is None else self.pad_value, dtype=np.float32)

    def _normalized(self, pixels: np.ndarray) -> np.ndarray:
        return (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)

    def _resized_size(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(width, height) after the resize, so that it also fits a fixed file."""
        height, width = shape
        if self.scale is None and self.input_size is None:
            return width, height
        if not self.keep_ratio:
            return tuple(self.scale) if self.input_size is None else (self.input_size[1], self.input_size[0])
        bounds = [self.input_size[0] / height, self.input_size[1] / width] if self.input_size else []
        if self.scale:
            bounds += [max(self.scale) / max(height, width), min(self.scale) / min(height, width)]
        factor = min(bounds)
        size = int(width * factor + 0.5), int(height * factor + 0.5)
        if self.input_size:
            size = min(size[0], self.input_size[1]), min(size[1], self.input_size[0])
        return max(1, size[0]), max(1, size[1])

    def _padded_size(self, shape: tuple[int, int]) -> tuple[int, int]:
        if self.input_size:
            return tuple(self.input_size)
        step = self.pad_size_divisor
        return tuple(-(-side // step) * step for side in shape)


def describe_preprocessing(data_preprocessor: Any, pipeline: Iterable[dict],
                           input_size: tuple[int, int] | None) -> Preprocessing:
    """Read the rule from a model's data preprocessor and its test pipeline.

    Args:
        data_preprocessor: MMEngine's ``ImgDataPreprocessor`` or a subclass (``mean``, ``std``, channel conversion).
        pipeline: the test pipeline of the config; its first resize gives the scale.
        input_size: (height, width) of a fixed file, None for a dynamic one.
    """
    # MMEngine's ImgDataPreprocessor keeps the swap in a private flag, ours names the order
    swaps = getattr(data_preprocessor, '_channel_conversion', False)
    order = getattr(data_preprocessor, 'channel_order', 'RGB' if swaps else 'BGR')
    resize = find_resize(pipeline)
    scale = resize.get('scale')
    return Preprocessing(
        channel_order=order,
        mean=_values(getattr(data_preprocessor, 'mean', None), 0.0),
        std=_values(getattr(data_preprocessor, 'std', None), 1.0),
        scale=[int(side) for side in scale] if scale else None,
        keep_ratio=bool(resize.get('keep_ratio', False)) if resize else True,
        pad_size_divisor=int(getattr(data_preprocessor, 'pad_size_divisor', 1)),
        input_size=list(input_size) if input_size else None)


def find_resize(pipeline: Iterable[dict]) -> dict:
    """The first resizing step with a fixed ``scale`` in a test pipeline, or an empty dict.

    A transform whose arguments have other names says in ``resize_rule(**arguments)`` what they mean.
    """
    for step in pipeline:
        if not isinstance(step, (dict, ConfigDict)):
            continue
        with contextlib.suppress(KeyError):  # a pipeline of another library is read by names alone
            rule = getattr(TRANSFORMS.get(str(step.get('type', ''))), 'resize_rule', None)
            if rule is not None:
                return rule(**{key: value for key, value in step.items() if key != 'type'})
        if str(step.get('type', '')).endswith('Resize') and step.get('scale'):
            return dict(step)
    return {}


def _values(buffer: Any, default: float) -> list[float]:
    if buffer is None:
        return [default] * 3
    values = [float(value) for value in np.asarray(buffer.detach().cpu()).reshape(-1)]
    return values * 3 if len(values) == 1 else values
