"""MAL: masks from boxes."""
from .model import MAL

__all__ = ['MAL']
