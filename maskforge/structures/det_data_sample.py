"""The value that travels beside an image: truth, prediction and facts about the image."""
from mmengine.structures import BaseDataElement

from .pinning import pinned


class DetDataSample(BaseDataElement):
    """Truth and predictions of one image (MMDetection's field names, so that users' metrics and visualizers work).

    Fields (all optional):
        gt_instances, ignored_instances: ``InstanceData`` with ``bboxes`` (N, 4) float32 xyxy, ``labels`` (N,) int64,
            ``masks`` :class:`~maskforge.structures.InstanceMasks`; in the frame of the network's input image.
            Crowd and ignored regions are in ``ignored_instances`` only.
        pred_instances: ``InstanceData`` with ``bboxes``, ``scores`` (N,) float32 in [0, 1], ``labels``, ``masks``
            (RLE); in the frame of the original image, sorted by falling score.
        gt_sem_seg, pred_sem_seg, gt_panoptic_seg, pred_panoptic_seg: ``PixelData``.

    Metainfo: ``img_id``, ``img_path``, ``ori_shape`` (h, w), ``img_shape`` (h, w) of the input before batch padding,
    ``scale_factor`` (x, y), ``flip``, ``flip_direction``, ``pad_shape``, ``batch_input_shape``.
    """

    def pin_memory(self) -> 'DetDataSample':
        """Return the sample in page-locked memory: what a loader with ``pin_memory=True`` calls."""
        return pinned(self)
