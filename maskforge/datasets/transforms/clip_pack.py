"""From the results dict of a clip to what the model takes."""
import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS
from maskforge.structures import ClipSample

from .frame_warp import draw_segment

_META = ('video_name', 'frame_names', 'frame_ids', 'ori_shape', 'source', 'is_image', 'img_path')


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """Return dict(inputs=(T, 3, H, W) uint8 BGR, data_samples=:class:`~maskforge.structures.ClipSample`).

    Raises:
        ValueError: frames differ in size.
    """

    def transform(self, results: dict) -> dict:
        frames, masks = results['frames'], results['masks']
        sizes = {frame.shape[:2] for frame in frames}
        if len(sizes) > 1:
            raise ValueError(f'the frames of {results["video_name"]} have the sizes (h, w) {sorted(sizes)} at the end; '
                             'ClipResize with consistent=True gives them one.')
        height, width = sizes.pop()
        clip = np.empty((len(frames), 3, height, width), np.uint8)
        for planes, frame in zip(clip, frames):
            # ten times as fast as a permuted copy
            cv2.split(np.ascontiguousarray(frame), list(planes))
        pixels = np.empty((len(frames), len(results['object_ids']), height, width), bool)
        for of_frame, segments in zip(pixels, masks):
            for mask, segment in zip(of_frame, segments):
                mask[:] = draw_segment(segment, (height, width))
        sample = ClipSample(metainfo={key: results[key] for key in _META if key in results})
        sample.gt_masks = torch.from_numpy(pixels)
        sample.object_ids = torch.tensor(results['object_ids'], dtype=torch.int64)
        return dict(inputs=torch.from_numpy(clip), data_samples=sample)
