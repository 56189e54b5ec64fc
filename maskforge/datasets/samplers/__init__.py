"""Which records are drawn, in which order, with which seeds."""
from .aspect_ratio_batch_sampler import AspectRatioBatchSampler
from .class_aware_sampler import ClassAwareSampler
from .default_sampler import DefaultSampler
from .grouped_box_sampler import GroupedBoxSampler
from .infinite_sampler import InfiniteSampler
from .mixed_source_batch_sampler import MixedSourceBatchSampler
from .sample_seeds import sample_seeds
from .source_samplers import NonUniformSampler, UniformSampler
from .whole_batch_sampler import WholeBatchSampler

__all__ = ['AspectRatioBatchSampler', 'ClassAwareSampler', 'DefaultSampler', 'GroupedBoxSampler',
           'InfiniteSampler', 'MixedSourceBatchSampler', 'NonUniformSampler', 'UniformSampler', 'WholeBatchSampler',
           'sample_seeds']
