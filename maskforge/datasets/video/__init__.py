"""Videos and pictures with the masks of single objects: sources, clips of them, whole videos."""
from .clip_loading import load_clip, read_frame
from .frame_files import VideoFrame, list_frames
from .frame_samplers import Clip, ClipTooShortError, EvalSampler, RandomUniformSampler
from .image_sources import CocoRawDataset, SA1BRawDataset
from .png_source import PNGRawDataset, YouTubeVOSRawDataset
from .sav_source import JSONRawDataset
from .video_source import Video
from .vos_dataset import VOSDataset
from .whole_videos import WholeVideoDataset, resize_frame

__all__ = ['Clip', 'ClipTooShortError', 'CocoRawDataset', 'EvalSampler', 'JSONRawDataset', 'PNGRawDataset',
           'RandomUniformSampler', 'SA1BRawDataset', 'VOSDataset', 'Video', 'VideoFrame', 'WholeVideoDataset',
           'YouTubeVOSRawDataset', 'list_frames', 'load_clip', 'read_frame', 'resize_frame']
