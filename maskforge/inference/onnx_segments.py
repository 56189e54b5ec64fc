"""Outputs of exported segmentation files as predictions in the original image.

Raw outputs go through the model's own post-processing, and predict what PyTorch predicts. Finished maps and masks are
in the frame of the input: they lose its padding and take the nearest pixel of the original image's size.

Legend: Q queries, K classes, D instances, H W input pixels, h w a quarter of them.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

from maskforge.models.mask2former.export import FINISHED, RAW
from maskforge.models.mask2former.postprocess import FIELDS, PostprocessSettings, add_predictions
from maskforge.structures import DetDataSample, InstanceMasks, PanopticSegmentation

#: of the raw masks
STRIDE = 4


def check_segment_outputs(names: Sequence[str], modes: Sequence[str], path: Any) -> None:
    """Refuse a file that has neither raw outputs nor those of its modes.

    Raises:
        ValueError: naming what is missing.
    """
    missing = [name for mode in modes for name in FINISHED[mode] if name not in names]
    if missing and not set(RAW) <= set(names):
        raise ValueError(f'{path} has the outputs {", ".join(names)}; segmentation needs {", ".join(RAW)}, or '
                         f'{", ".join(missing)} as well.')


def add_segments(sample: DetDataSample, output: Mapping[str, np.ndarray], settings: Mapping[str, Any], *,
                 is_thing: Sequence[bool], inner: tuple[int, int]) -> None:
    """Put ``pred_panoptic``, ``pred_instances`` and ``pred_sem_seg`` into the sample, as the modes ask for.

    Args:
        sample: with ``ori_shape``.
        output: of one image: ``pred_logits`` (Q, K + 1) and ``pred_masks`` (Q, h, w), or the finished outputs.
        settings: of the file's metadata, see :class:`~maskforge.models.mask2former.postprocess.PostprocessSettings`.
        is_thing: K flags.
        inner: (height, width) of the image inside the padded input.
    """
    choice = PostprocessSettings(**{**settings, 'mode': tuple(settings['mode'])})
    if set(RAW) <= set(output):
        logits, masks = (torch.from_numpy(np.ascontiguousarray(output[name])) for name in RAW)
        padded = tuple(STRIDE * side for side in masks.shape[-2:])
        frame = DetDataSample(metainfo=dict(img_shape=inner, ori_shape=sample.ori_shape, batch_input_shape=padded))
        add_predictions(logits[None], masks[None], [frame], choice, is_thing=is_thing)
        for mode in choice.mode:
            setattr(sample, FIELDS[mode], frame.get(FIELDS[mode]))
        return
    places = [nearest_pixels(*sides) for sides in zip(inner, sample.ori_shape[:2])]
    makers = dict(panoptic=_panoptic, instance=_instances, semantic=_semantic)
    for mode in choice.mode:
        setattr(sample, FIELDS[mode], makers[mode](output, places, choice))


def nearest_pixels(source: int, target: int) -> np.ndarray:
    """Return for each of ``target`` pixels the one of ``source`` that its centre lies in."""
    return ((np.arange(target) + 0.5) * (source / target)).astype(np.int64)


def _semantic(output: Mapping[str, np.ndarray], places: Sequence[np.ndarray],
              settings: PostprocessSettings) -> PixelData:
    found = output['semantic_map'][np.ix_(*places)]
    return PixelData(sem_seg=torch.from_numpy(found.astype(np.int16))[None])


def _instances(output: Mapping[str, np.ndarray], places: Sequence[np.ndarray],
               settings: PostprocessSettings) -> InstanceData:
    rows = (output['scores'] > 0).nonzero()[0]
    rles = []
    for row in rows:  # one at a time: all of them at the original size are large
        bitmap = output['masks'][row][np.ix_(*places)].astype(bool)
        rles += InstanceMasks.from_bitmaps(bitmap[None]).to_rles()
    masks = InstanceMasks(rles, *(len(place) for place in places))
    boxes = torch.from_numpy(masks.bboxes()) if settings.boxes_from_masks else torch.zeros(len(masks), 4)
    found = InstanceData(bboxes=boxes, scores=torch.from_numpy(output['scores'][rows].astype(np.float32)),
                         labels=torch.from_numpy(output['labels'][rows].astype(np.int64)), masks=masks)
    # a mask of few pixels may have none in a smaller image
    return found[torch.from_numpy(masks.areas() > 0)]


def _panoptic(output: Mapping[str, np.ndarray], places: Sequence[np.ndarray],
              settings: PostprocessSettings) -> PanopticSegmentation:
    count = int((output['segment_scores'] > 0).sum())
    found = PanopticSegmentation(output['panoptic_map'][np.ix_(*places)].astype(np.int32),
                                 output['segment_labels'][:count].astype(np.int64),
                                 output['segment_scores'][:count].astype(np.float32))
    return found.select(found.areas() > 0)
