"""MAL: masks from boxes."""
from .model import MAL
from .weights import MALBackboneLayout, MALLayout, TimmMALLayout

__all__ = ['MAL', 'MALBackboneLayout', 'MALLayout', 'TimmMALLayout']
