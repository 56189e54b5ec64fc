"""The drawn data set: shapes with exact boxes, instance, panoptic and semantic masks, and clips."""
from .shapes_dataset import SyntheticShapesDataset

__all__ = ['SyntheticShapesDataset']
