"""Masks from points, boxes and earlier masks by the two exported files of SAM 2, without the model."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maskforge.export import open_session, parse_metadata
from maskforge.models.sam2.prompt_predictor import PromptPredictor, object_count
from maskforge.models.sam2.structures import ImageFeatures, Prompts

TASK = 'promptable_segmentation'
PARTS = ('encoder', 'decoder')


class OnnxImagePredictor(PromptPredictor):
    """The calls of :class:`~maskforge.models.sam2.ImagePredictor` on exported files; tensors are on the CPU.

    Args:
        encoder: file written by ``tools/export.py``, ``*.encoder.onnx``.
        decoder: the other one; None: ``*.decoder.onnx`` beside it.
        mask_threshold, max_hole_area, max_sprinkle_area, objects_per_batch: as there. Whether an unstable mask gives
            way to the best of three was decided when the files were written.
        threads: of onnxruntime; 0 lets it choose.

    Attributes:
        metadata: what the encoder's file says about itself.

    Raises:
        FileNotFoundError, ValueError: no such file, not one of ours, not SAM 2's, or files of different exports.
        ImportError: onnxruntime is missing.

    Example:
        >>> predictor = OnnxImagePredictor('sam2.encoder.onnx')
        >>> predictor.set_image(cv2.imread('truck.jpg'))
        >>> masks, ious, logits = predictor.predict(point_coords=[[500, 375]], point_labels=[1])
    """

    def __init__(self, encoder: str | Path, decoder: str | Path | None = None, *, mask_threshold: float | int = 0.,
                 max_hole_area: int | float = 0, max_sprinkle_area: int | float = 0, objects_per_batch: int = 64,
                 threads: int = 0) -> None:
        decoder = _beside(Path(encoder)) if decoder is None else Path(decoder)
        self.encoder, self.metadata = _open(encoder, 'encoder', threads)
        self.decoder, other = _open(decoder, 'decoder', threads)
        for key in ('weights', 'input_size'):
            if self.metadata[key] != other[key]:
                raise ValueError(f'{encoder} and {decoder} are of different exports: their {key} are '
                                 f'{self.metadata[key]} and {other[key]}. Export both again, together.')
        self.multimask = other['multimask']
        rule = self.metadata['preprocessing']
        # colours are scaled inside the file
        inside = rule.get('normalized_inside', True)
        super().__init__(tuple(self.metadata['input_size']), mean=(0.,) * 3 if inside else rule['mean'],
                         std=(1.,) * 3 if inside else rule['std'], mask_threshold=mask_threshold,
                         max_hole_area=max_hole_area, max_sprinkle_area=max_sprinkle_area,
                         objects_per_batch=objects_per_batch)

    @property
    def device(self) -> torch.device:
        """The CPU: onnxruntime copies by itself."""
        return torch.device('cpu')

    def _encode(self, inputs: Float[Tensor, 'B 3 _ _']) -> ImageFeatures:
        entry = self.encoder.get_inputs()[0]
        if entry.shape[1] == 1:
            inputs = _grey(inputs)
        size = entry.shape[0] if isinstance(entry.shape[0], int) else len(inputs)
        maps = []
        for start in range(0, len(inputs), size):
            part = inputs[start:start + size]
            # a fixed batch is filled up by repeating the last image
            filled = torch.cat((part, part[-1:].expand(size - len(part), -1, -1, -1)))
            found = self.encoder.run(None, {entry.name: filled.numpy()})
            maps.append([torch.from_numpy(value[:len(part)]) for value in found])
        levels = [torch.cat(level) for level in zip(*maps)]
        return ImageFeatures(*levels, *[None] * (3 - len(levels)))

    def _decode(self, features: ImageFeatures, image: int, prompts: Prompts,
                multimask: bool) -> tuple[Float[Tensor, 'N M h w'], Float[Tensor, 'N M']]:
        wanted = 'several' if multimask else 'single'
        if self.multimask not in (wanted, 'all'):
            raise ValueError(f'multimask_output={multimask}: the decoder was exported with masks={self.multimask!r}. '
                             f"Export it with export_cfg.model_options.masks='all', or ask for "
                             f'multimask_output={not multimask}.')
        maps = [level[image:image + 1].numpy() for level in (features.s16, features.s8, features.s4)
                if level is not None]
        names = ['s16', 's8', 's4'][:len(maps)]
        given = dict(zip(names, maps)) | self._prompts(prompts)
        low, ious = (torch.from_numpy(value) for value in self.decoder.run(['low_res_masks', 'ious'], given))
        if self.multimask == 'all':
            low, ious = (low[:, 1:], ious[:, 1:]) if multimask else (low[:, :1], ious[:, :1])
        return low, ious

    def _prompts(self, prompts: Prompts) -> dict[str, np.ndarray]:
        count = object_count(prompts)
        points = torch.zeros(count, 1, 2) if prompts.points is None else prompts.points
        labels = torch.full((count, 1), -1) if prompts.labels is None else prompts.labels
        masks = torch.zeros(count, 1, *self.mask_size) if prompts.masks is None else prompts.masks
        given = dict(point_coords=points.float(), point_labels=labels.long(), mask_input=masks.float(),
                     has_mask_input=torch.full((count,), float(prompts.masks is not None)))
        if any(entry.name == 'orig_im_size' for entry in self.decoder.get_inputs()):
            # masks are enlarged here, where small holes and islands go; the file needs some size
            given['orig_im_size'] = torch.tensor(self.mask_size)
        return {name: value.contiguous().numpy() for name, value in given.items()}


def _beside(encoder: Path) -> Path:
    if not encoder.name.endswith('.encoder.onnx'):
        raise ValueError(f"{encoder}: the decoder's file beside it is found by the name *.encoder.onnx only; give "
                         f'decoder=FILE.')
    return encoder.with_name(encoder.name.removesuffix('.encoder.onnx') + '.decoder.onnx')


def _open(path: str | Path, part: str, threads: int) -> tuple[Any, dict[str, Any]]:
    session = open_session(path, threads=threads)
    metadata = parse_metadata(session.get_modelmeta().custom_metadata_map, path=path)
    if metadata.get('task') != TASK or metadata.get('part') not in PARTS:
        raise ValueError(f'{path} is no exported file of SAM 2 (its task is {metadata.get("task")!r}). '
                         'maskforge.inference.Inferencer reads the files of other models.')
    if metadata['part'] != part:
        raise ValueError(f'{path} is the {metadata["part"]} of SAM 2; its {part} is wanted here.')
    return session, metadata


def _grey(inputs: Float[Tensor, 'B 3 H W']) -> Float[Tensor, 'B 1 H W']:
    """Luma of ITU-R BT.601, as cv2 weighs colours."""
    weights: Sequence[float] = (0.299, 0.587, 0.114)
    return (inputs * inputs.new_tensor(weights)[:, None, None]).sum(1, keepdim=True)
