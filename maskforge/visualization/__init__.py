"""Pictures: drawn instances, the visualizer of the training loop, static result pages."""
from .draw_instances import draw_instances
from .palette import class_colors, distinct_color

__all__ = ['class_colors', 'distinct_color', 'draw_instances']
