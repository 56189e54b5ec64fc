"""Predictions on images of a data set: masks of given boxes, of simulated clicks, or of everything.

Legend: N objects, H W pixels of the image.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, UInt8
from mmengine.structures import InstanceData
from torch import Tensor

from maskforge.models.sam2.automatic_masks import AutomaticMaskGenerator
from maskforge.models.sam2.click_rounds import segment_by_clicks
from maskforge.models.sam2.image_predictor import ImagePredictor
from maskforge.models.sam2.network import SAM2Network
from maskforge.ops.boxes import box_area, box_iou, clip_boxes
from maskforge.structures import DetDataSample, InstanceMasks
from maskforge.structures.original_frame import boxes_to_original, masks_to_original

PROMPTS = ('boxes', 'clicks', 'everything')
Image = UInt8[Tensor, '3 H W']


@dataclass(frozen=True)
class ImagePrompting:
    """How images are predicted; ``test_cfg`` of the model.

    Attributes:
        prompts: 'boxes' (those of ``gt_instances``), 'clicks' (simulated on their masks), 'everything' (a grid of
            clicks); None takes the boxes where there are some, and everything elsewhere.
        clicks: numbers of clicks after which masks are kept.
        multimask_output: boxes too are ambiguous: take the best of three masks.
        predictor: settings of :class:`~maskforge.models.sam2.ImagePredictor`.
        automatic: settings of :class:`~maskforge.models.sam2.AutomaticMaskGenerator`.

    Raises:
        ValueError: prompts that do not exist, numbers of clicks that are not rising from 1.
    """

    prompts: str | None = None
    clicks: tuple[int, ...] = (1, 3, 5)
    multimask_output: bool = False
    predictor: dict[str, Any] = field(default_factory=dict)
    automatic: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.prompts is not None and self.prompts not in PROMPTS:
            raise ValueError(f'prompts={self.prompts!r} is not one of {", ".join(PROMPTS)}, or None.')
        if not self.clicks or min(self.clicks) < 1 or list(self.clicks) != sorted(set(self.clicks)):
            raise ValueError(f'clicks={self.clicks} must be rising numbers from 1 on.')


@torch.no_grad()
def predict_images(network: SAM2Network, images: Sequence[Image], samples: Sequence[DetDataSample],
                   how: ImagePrompting, *, mean: Sequence[float], std: Sequence[float]) -> list[DetDataSample]:
    """Give samples ``pred_instances`` (boxes, everything) or ``pred_clicks``; an image is encoded once.

    ``pred_instances`` has ``bboxes``, ``labels``, ``scores`` in [0, 1] and ``masks`` (RLE) in the frame of the original
    image. Of boxes it keeps their order; the score is the geometric mean of the predicted IoU (``mask_iou``) and of the
    IoU of box and mask's tight box (``box_agreement``); ``box_fill`` is the part of the box that the mask has.
    ``pred_clicks`` has ``masks_K`` for every K of ``clicks``, in the order of ``gt_instances``.

    Args:
        images: BGR, as the samples' frames are (resized or not).
        samples: with ``ori_shape``; consecutive ones of one ``img_path`` share an image.
        mean, std: normalisation, RGB.

    Raises:
        ValueError: 'boxes' or 'clicks' for samples without ``gt_instances`` or masks.
    """
    predictor = ImagePredictor(network, mean=mean, std=std, **how.predictor)
    for group in _of_one_image(images, samples):
        _predict_image(predictor, group[0][0], [sample for _, sample in group], how, dict(mean=mean, std=std))
    return list(samples)


def _predict_image(predictor: ImagePredictor, image: Image, samples: Sequence[DetDataSample], how: ImagePrompting,
                   normalisation: dict[str, Any]) -> None:
    image = image[:, :samples[0].img_shape[0], :samples[0].img_shape[1]] if 'img_shape' in samples[0] else image
    prompts = [how.prompts or ('boxes' if _boxes(sample) is not None else 'everything') for sample in samples]
    if 'everything' in prompts:
        generator = AutomaticMaskGenerator(predictor.network, **{**normalisation, **how.predictor, **how.automatic})
        for sample, chosen in zip(samples, prompts):
            if chosen == 'everything':
                sample.pred_instances = _everything(generator, image, sample)
    if set(prompts) == {'everything'}:
        return
    predictor.set_tensors([image], sizes=[tuple(samples[0].ori_shape[:2])])
    boxed = [sample for sample, chosen in zip(samples, prompts) if chosen == 'boxes']
    if boxed:
        _predict_boxes(predictor, boxed, multimask=how.multimask_output)
    for sample, chosen in zip(samples, prompts):
        if chosen == 'clicks':
            sample.pred_clicks = _clicked(predictor, sample, how.clicks)


def _of_one_image(images: Sequence[Image], samples: Sequence[DetDataSample]) -> Iterator[list[tuple]]:
    """Neighbours of one file; an image without a path stands alone."""
    group: list[tuple] = []
    for image, sample in zip(images, samples):
        path = sample.get('img_path')
        if group and (path is None or path != group[-1][1].get('img_path') or image.shape != group[-1][0].shape):
            yield group
            group = []
        group.append((image, sample))
    if group:
        yield group


def _boxes(sample: DetDataSample) -> Float[Tensor, 'N 4'] | None:
    """The given boxes in the frame of the original image."""
    truth = sample.get('gt_instances')
    if truth is None or 'bboxes' not in truth:
        return None
    boxes = boxes_to_original(truth.bboxes.cpu().numpy(), sample.metainfo.get('scale_factor', (1., 1.)))
    return torch.from_numpy(boxes).float()


def _predict_boxes(predictor: ImagePredictor, samples: Sequence[DetDataSample], *, multimask: bool) -> None:
    """All boxes of the samples of one image."""
    given = [_boxes(sample) for sample in samples]
    if any(boxes is None for boxes in given):
        raise ValueError(f"image {samples[0].get('img_path')}: prompts='boxes' needs gt_instances.bboxes; keep "
                         'LoadAnnotations in the test pipeline, or choose prompts=None or \'everything\'.')
    boxes = clip_boxes(torch.cat(given), samples[0].ori_shape)
    masks, ious = _segment_boxes(predictor, boxes, multimask=multimask)
    start = 0
    for sample, own in zip(samples, given):
        rows = slice(start, start + len(own))
        sample.pred_instances = _instances(masks[rows], ious[rows], boxes[rows], sample.gt_instances.labels.cpu())
        start += len(own)


def _segment_boxes(predictor: ImagePredictor, boxes: Float[Tensor, 'N 4'], *,
                   multimask: bool) -> tuple[InstanceMasks, Float[Tensor, ' N']]:
    """One mask per box, empty for a box without extent."""
    valid = (boxes[:, 2:] > boxes[:, :2]).all(1)
    height, width = predictor.sizes[0]
    masks = InstanceMasks.from_bitmaps(torch.zeros(1, height, width, dtype=torch.bool))[[0] * len(boxes)]
    ious = torch.zeros(len(boxes))
    rows = valid.nonzero()[:, 0]
    for part in rows.split(predictor.objects_per_batch):
        found, scores, _ = predictor.predict(box=boxes[part], multimask_output=multimask)
        best = scores.argmax(1)
        chosen = found[torch.arange(len(best), device=best.device), best]
        masks = masks.replace(part.tolist(), InstanceMasks.from_bitmaps(chosen))
        ious[part] = scores.amax(1).cpu()
    return masks, ious


def _instances(masks: InstanceMasks, ious: Float[Tensor, ' N'], boxes: Float[Tensor, 'N 4'],
               labels: Tensor) -> InstanceData:
    tight = torch.from_numpy(masks.bboxes())
    agreement = box_iou(tight, boxes).diagonal()
    filled = torch.from_numpy(masks.areas()) / box_area(boxes).clamp(min=1)
    ious = ious.clamp(0, 1)
    return InstanceData(bboxes=boxes, labels=labels, scores=(ious * agreement).sqrt(), masks=masks, mask_iou=ious,
                        box_agreement=agreement, box_fill=filled.float().clamp(max=1))


def _everything(generator: AutomaticMaskGenerator, image: Image, sample: DetDataSample) -> InstanceData:
    found = generator.search(image.cpu().permute(1, 2, 0).numpy())
    size = tuple(sample.ori_shape[:2])
    masks = found.masks.resize(size) if size != tuple(image.shape[-2:]) else found.masks
    order = found.ious.argsort(descending=True)
    return InstanceData(bboxes=torch.from_numpy(masks.bboxes())[order], scores=found.ious[order].clamp(0, 1),
                        labels=torch.zeros(len(masks), dtype=torch.long), masks=masks[order])


def _clicked(predictor: ImagePredictor, sample: DetDataSample, clicks: Sequence[int]) -> InstanceData:
    truth = sample.get('gt_instances')
    if truth is None or 'masks' not in truth:
        raise ValueError(f"image {sample.get('img_path')}: prompts='clicks' simulates clicks on gt_instances.masks; "
                         "set LoadAnnotations(with_mask=True) in the test pipeline.")
    masks = masks_to_original(truth.masks, sample.ori_shape, sample.metainfo.get('scale_factor', (1., 1.)))
    rounds = segment_by_clicks(predictor, masks, clicks=clicks)
    return InstanceData(**{f'masks_{count}': found for count, found in rounds.items()})
