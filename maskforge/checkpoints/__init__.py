"""Checkpoints: atomic and checked files, safe reading, layouts of other libraries, publishing."""
from maskforge.formats.atomic_file import write_atomically

from . import loader_schemes
from .checkpoint_file import is_whole, load_checkpoint, save_checkpoint
from .find_latest import find_latest, write_last_checkpoint
from .layout import CheckpointLayout
from .load_weights import LoadReport, load_weights, translate, unwrap, without_names
from .publish import publish

__all__ = ['CheckpointLayout', 'LoadReport', 'find_latest', 'is_whole', 'load_checkpoint', 'load_weights',
           'loader_schemes', 'publish', 'save_checkpoint', 'translate', 'unwrap', 'without_names',
           'write_atomically', 'write_last_checkpoint']
