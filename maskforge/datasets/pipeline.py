"""The chain of transforms of a data set, under the name that data sets and inference use."""
from .transforms.compose import Compose as Pipeline
from .transforms.compose import build_transform

__all__ = ['Pipeline', 'build_transform']
