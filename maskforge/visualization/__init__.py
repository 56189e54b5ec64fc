"""Pictures: drawn instances, the visualizer of the training loop, static result pages."""
from .color_map import read_color_map
from .det_local_visualizer import DetLocalVisualizer
from .draw_instances import draw_instances
from .palette import class_colors, distinct_color
from .result_page import ResultPage
from .tensorboard_vis_backend import TensorboardVisBackend

__all__ = ['DetLocalVisualizer', 'ResultPage', 'TensorboardVisBackend', 'class_colors', 'distinct_color',
           'draw_instances', 'read_color_map']
