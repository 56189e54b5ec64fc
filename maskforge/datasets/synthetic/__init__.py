"""The drawn data set: shapes with exact boxes, instance, panoptic and semantic masks, and clips."""
from .draw_shapes import DrawnShapes, draw_shapes
from .shapes_dataset import SyntheticShapesDataset

__all__ = ['DrawnShapes', 'SyntheticShapesDataset', 'draw_shapes']
