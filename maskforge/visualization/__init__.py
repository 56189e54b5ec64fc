"""Pictures: drawn instances, segments and semantic maps, the visualizer of the training loop, static result pages."""
from .color_map import read_color_map
from .det_local_visualizer import DetLocalVisualizer
from .draw_instances import draw_instances
from .draw_objects import draw_objects, draw_video, object_color
from .draw_panoptic import draw_panoptic, draw_semantic
from .draw_predictions import draw_predictions
from .palette import class_colors, distinct_color
from .result_page import ResultPage
from .tensorboard_vis_backend import TensorboardVisBackend

__all__ = ['DetLocalVisualizer', 'ResultPage', 'TensorboardVisBackend', 'class_colors', 'distinct_color',
           'draw_instances', 'draw_objects', 'draw_panoptic', 'draw_predictions', 'draw_semantic', 'draw_video',
           'object_color', 'read_color_map']
