"""The value that travels beside a clip or a whole video: truth, prediction and facts about its frames."""
from mmengine.structures import BaseDataElement

from .pinning import pinned


class ClipSample(BaseDataElement):
    """Truth and predictions of T frames with O objects. An image is a clip of one frame.

    Fields of a training clip:
        gt_masks: (T, O, H, W) bool tensor in the frame of the network's input, O >= 1 on all frames alike; an object
            that is not to be seen in a frame has no True there.
        object_ids: (O,) int64 tensor, the objects' numbers in their video.

    Fields of a whole video (validation, inference):
        gt_frames: :class:`~maskforge.structures.VideoMasks`, read when asked for.
        pred_masks: dict of object id -> list of T COCO RLE dicts at ``ori_shape``, None before the object appears.
        pred_scores: dict of object id -> list of T floats.

    Metainfo: ``video_name``, ``frame_names`` (T strings, without folder and extension), ``frame_ids`` (T ints, places
    in the video), ``ori_shape`` (h, w), ``source`` (the name of the data source), ``is_image``.
    """

    @property
    def num_objects(self) -> int:
        """O."""
        return len(self.object_ids)

    def pin_memory(self) -> 'ClipSample':
        """Return the sample in page-locked memory: what a loader with ``pin_memory=True`` calls."""
        return pinned(self)
