"""From class and mask logits to what the modes promise, in the original image.

Legend: B images, Q queries, K classes, h w a quarter of the padded input.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maskforge.models.mask2former.instances import InstanceStrips
from maskforge.models.mask2former.panoptic import PanopticStrips
from maskforge.models.mask2former.semantic import SemanticStrips
from maskforge.models.mask2former.upsampling import Resize
from maskforge.structures import DetDataSample

FIELDS = {'panoptic': 'pred_panoptic', 'instance': 'pred_instances', 'semantic': 'pred_sem_seg'}
#: of one tensor over a strip; what leaves a processor's cache is slow there
CPU_STRIP_BYTES, DEVICE_STRIP_BYTES = 4 * 2**20, 256 * 2**20
#: strips of fewer rows would share most of the source rows that they read
LEAST_ROWS = 8


@dataclass(frozen=True)
class PostprocessSettings:
    """What is predicted, and from when on; see :class:`~maskforge.models.mask2former.Mask2Former`.

    Attributes:
        mode: any of 'panoptic', 'instance', 'semantic'.
        keep_no_object: TAO's rule for panoptic segments: the score of the best real class alone decides.
        boxes_from_masks: False gives every instance the box (0, 0, 0, 0), as the official release does.
    """

    mode: tuple[str, ...]
    object_mask_threshold: float | int = 0.8
    overlap_threshold: float | int = 0.8
    topk_per_image: int = 100
    score_threshold: float | int = 0.
    dedup_iou: float | int | None = None
    boxes_from_masks: bool = True
    keep_no_object: bool = False

    def __post_init__(self) -> None:
        unknown = [mode for mode in self.mode if mode not in FIELDS]
        if unknown or not self.mode:
            raise ValueError(f'mode={self.mode!r}: allowed are {", ".join(FIELDS)}, at least one.')
        if self.topk_per_image < 1:
            raise ValueError(f'topk_per_image={self.topk_per_image} must be at least 1.')
        for name in ('object_mask_threshold', 'overlap_threshold', 'score_threshold', 'dedup_iou'):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f'{name}={value} must be in 0 .. 1.')


@torch.no_grad()
def add_predictions(class_logits: Float[Tensor, 'B Q K+1'], mask_logits: Float[Tensor, 'B Q h w'],
                    data_samples: Sequence[DetDataSample], settings: PostprocessSettings, *,
                    is_thing: Sequence[bool], strip_bytes: int | None = None) -> list[DetDataSample]:
    """Return the samples with ``pred_panoptic``, ``pred_instances`` and ``pred_sem_seg``, as the modes ask for.

    Masks are resized to the padded input, lose the padding, and are resized to the original image; then the modes
    read them. Where the semantic map is all that is asked for, classes are put together before the second resize, as
    in the official release.

    Args:
        class_logits: no-object last.
        data_samples: with ``batch_input_shape`` and ``img_shape``; ``ori_shape`` is ``img_shape`` where it is missing.
        is_thing: K flags; with 'panoptic' among the modes, instances are of these classes alone.
        strip_bytes: bound on one tensor over a strip of the image, from ``LEAST_ROWS`` rows on; by default, what is
            fast on the device. The predictions do not depend on it.

    Raises:
        ValueError: ``is_thing`` for another number of classes.
    """
    if len(is_thing) != class_logits.shape[-1] - 1:
        raise ValueError(f'is_thing has {len(is_thing)} flags, the class logits {class_logits.shape[-1] - 1} classes '
                         'and no-object; the data set and num_classes of the model differ.')
    if strip_bytes is None:
        strip_bytes = CPU_STRIP_BYTES if mask_logits.device.type == 'cpu' else DEVICE_STRIP_BYTES
    with torch.autocast(mask_logits.device.type, enabled=False):
        for sample, classes, masks in zip(data_samples, class_logits, mask_logits):
            _predict(sample, classes, masks, settings, is_thing, strip_bytes)
    return list(data_samples)


def _predict(sample: DetDataSample, class_logits: Float[Tensor, 'Q K+1'], mask_logits: Float[Tensor, 'Q h w'],
             settings: PostprocessSettings, is_thing: Sequence[bool], strip_bytes: int) -> None:
    inner = tuple(sample.img_shape[:2])
    size = tuple(sample.metainfo.get('ori_shape', inner)[:2])
    to_input = Resize.between(mask_logits.shape[-2:], sample.batch_input_shape[:2]).cropped(inner)
    to_original = Resize.between(inner, size)
    if settings.mode == ('semantic',):
        sample.pred_sem_seg = _semantic(class_logits, mask_logits, to_input, to_original, strip_bytes).result()
        return
    makers = {mode: _maker(mode, class_logits, size, settings, is_thing) for mode in settings.mode}
    queries = torch.cat([maker.queries for maker in makers.values()]).unique()
    places = [torch.searchsorted(queries, maker.queries) for maker in makers.values()]
    chosen = mask_logits if len(queries) == len(mask_logits) else mask_logits[queries]
    resize = to_input.then(to_original)
    for low, high in strips(resize, len(queries), strip_bytes):
        logits = resize.strip(chosen, low, high)
        probs = logits.sigmoid()
        for maker, place in zip(makers.values(), places):
            everything = len(place) == len(queries)
            maker.add(low, *(values if everything else values[place] for values in (logits, probs)))
    for mode, maker in makers.items():
        setattr(sample, FIELDS[mode], maker.result())


def _maker(mode: str, class_logits: Float[Tensor, 'Q K+1'], size: Sequence[int], settings: PostprocessSettings,
           is_thing: Sequence[bool]) -> PanopticStrips | InstanceStrips | SemanticStrips:
    if mode == 'panoptic':
        return PanopticStrips(class_logits, size, is_thing=is_thing, overlap_threshold=settings.overlap_threshold,
                              object_mask_threshold=settings.object_mask_threshold,
                              keep_no_object=settings.keep_no_object)
    if mode == 'instance':
        return InstanceStrips(class_logits, size, topk=settings.topk_per_image,
                              classes=is_thing if 'panoptic' in settings.mode else None,
                              score_threshold=settings.score_threshold, dedup_iou=settings.dedup_iou,
                              boxes_from_masks=settings.boxes_from_masks)
    return SemanticStrips(class_logits, size)


def _semantic(class_logits: Float[Tensor, 'Q K+1'], mask_logits: Float[Tensor, 'Q h w'], to_input: Resize,
              to_original: Resize, strip_bytes: int) -> SemanticStrips:
    """Put the classes together in the frame of the input, and resize their scores."""
    maker = SemanticStrips(class_logits, [len(taps.first) for taps in to_original])
    channels = max(class_logits.shape)
    for low, high in strips(to_original, channels, strip_bytes):
        first, last = to_original.rows.part(low, high).band()
        scores = maker.class_scores(to_input.strip(mask_logits, first, last).sigmoid_())
        maker.add_scores(low, to_original.strip(scores, low, high, start=first))
    return maker


def strips(resize: Resize, channels: int, strip_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each strip and the one after its last.

    A strip of the result and what it is made of have at most ``strip_bytes`` each, or few rows.
    """
    height, width = (len(taps.first) for taps in resize)
    whole = 4 * channels * max(height * width, resize.rows.source * max(width, resize.columns.source))
    rows = max(LEAST_ROWS, height * strip_bytes // max(whole, 1))
    return ((low, min(low + rows, height)) for low in range(0, height, rows))
