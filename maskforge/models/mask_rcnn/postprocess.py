"""From head outputs to detections in the original image."""
from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from mmengine.structures import InstanceData
from torch import Tensor

from maskforge.models.mask_rcnn.settings import RCNNTestSettings
from maskforge.ops import multiclass_nms, paste_packed, scale_boxes
from maskforge.structures import InstanceMasks


class Detections(NamedTuple):
    """One image's D detections by falling score, in the frame of the original image.

    Attributes:
        boxes: (D, 4) xyxy.
        scores: (D,) in [0, 1].
        labels: (D,) classes.
        masks: at the original size, or None without a mask head.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: InstanceMasks | None = None

    def to_instances(self) -> InstanceData:
        """Return them as ``pred_instances``."""
        instances = InstanceData(bboxes=self.boxes, scores=self.scores, labels=self.labels)
        if self.masks is not None:
            instances.masks = self.masks
        return instances


def detect(bbox_head, proposals: Float[Tensor, 'R 4'], logits: Float[Tensor, 'R _'], offsets: Float[Tensor, 'R _'],
           sample, settings: RCNNTestSettings) -> Detections:
    """Return one image's detections without masks: decode, clip, move to the original frame, suppress per class."""
    boxes = bbox_head.decode(proposals, offsets, max_shape=sample.img_shape)
    x, y = sample.metainfo.get('scale_factor', (1.0, 1.0))
    boxes = scale_boxes(boxes, (1 / x, 1 / y))
    scores = logits.float().softmax(dim=1)[:, :-1]
    return Detections(*multiclass_nms(boxes, scores, score_thr=settings.score_thr,
                                      iou_threshold=settings.nms['iou_threshold'], max_per_img=settings.max_per_img))


def masks_to_original(probs: Float[Tensor, 'D T T'], boxes: Float[Tensor, 'D 4'], sample,
                      settings: RCNNTestSettings) -> InstanceMasks:
    """Paste mask probabilities into the original image and threshold them; packed, never D x H x W."""
    height, width = original_shape(sample)
    packed = paste_packed(probs, boxes, (height, width), threshold=settings.mask_thr_binary)
    return InstanceMasks(packed, height, width)


def original_shape(sample) -> Sequence[int]:
    """Return (height, width) of the image before any resize; of the input where nothing else is known."""
    return sample.metainfo.get('ori_shape', sample.img_shape)[:2]
