"""Typed values that travel between rooms: samples, masks, sample keys and generators, the export contract."""
from .clip_sample import ClipSample
from .det_data_sample import DetDataSample
from .export_spec import ExportSpec
from .instance_masks import InstanceMasks
from .panoptic_segmentation import PanopticSegmentation
from .sample_key import SampleKey
from .sample_rng import mark_randomness, sample_rng, seeded_sample
from .video_frames import VideoFrames, VideoMasks

__all__ = ['ClipSample', 'DetDataSample', 'ExportSpec', 'InstanceMasks', 'PanopticSegmentation', 'SampleKey',
           'VideoFrames', 'VideoMasks', 'mark_randomness', 'sample_rng', 'seeded_sample']
