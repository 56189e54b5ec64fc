"""Ground truth of a data sample in the frame of the picture that it is drawn on."""
import numpy as np
from mmengine.structures import InstanceData
from torch import Tensor

from maskforge.structures import DetDataSample
from maskforge.structures.original_frame import boxes_to_original, masks_to_original


def truth_in_frame(sample: DetDataSample, size: tuple[int, int]) -> DetDataSample:
    """Return a sample with the truth of ``sample`` only, mapped to the original image where the picture is that.

    Args:
        sample: its truth lies in the frame of the network's input image.
        size: (height, width) of the picture: the original image's or the input image's.
    """
    meta = sample.metainfo
    mapped = tuple(size) == tuple(meta.get('ori_shape', size)[:2]) and 'scale_factor' in meta
    found = DetDataSample(metainfo=meta)
    for name in ('gt_instances', 'ignored_instances'):
        if name in sample:
            instances = sample.get(name)
            found.set_field(_original(instances, meta) if mapped else instances, name, dtype=InstanceData)
    return found


def _original(instances: InstanceData, meta: dict) -> InstanceData:
    found = InstanceData(labels=instances.labels)
    if 'bboxes' in instances:
        boxes = instances.bboxes
        boxes = boxes.detach().cpu().numpy() if isinstance(boxes, Tensor) else np.asarray(boxes)
        found.bboxes = boxes_to_original(boxes, meta['scale_factor'])
    if 'masks' in instances:
        found.masks = masks_to_original(instances.masks, meta['ori_shape'], meta['scale_factor'])
    return found
