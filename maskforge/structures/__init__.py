"""Typed values that travel between rooms: samples, masks, sample keys and generators, the export contract."""
from .det_data_sample import DetDataSample
from .export_spec import ExportSpec
from .instance_masks import InstanceMasks
from .panoptic_segmentation import PanopticSegmentation
from .sample_key import SampleKey
from .sample_rng import sample_rng, seeded_sample

__all__ = ['DetDataSample', 'ExportSpec', 'InstanceMasks', 'PanopticSegmentation', 'SampleKey', 'sample_rng',
           'seeded_sample']
