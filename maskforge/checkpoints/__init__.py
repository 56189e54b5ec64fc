"""Checkpoints: atomic and checked files, safe reading, layouts of other libraries, publishing."""
from maskforge.formats.atomic_file import write_atomically

from . import loader_schemes
from .checkpoint_file import is_whole, load_checkpoint, save_checkpoint
from .encrypted_file import encrypted, is_encrypted, open_decrypted
from .encryption_key import adopt_config_key, current_key, read_key_file, set_encryption_key
from .find_latest import find_latest, write_last_checkpoint
from .layout import CheckpointLayout
from .load_weights import LoadReport, load_weights, translate, unwrap, without_names
from .publish import publish
from .weights_file import save_weights

__all__ = ['CheckpointLayout', 'LoadReport', 'adopt_config_key', 'current_key', 'encrypted', 'find_latest',
           'is_encrypted', 'is_whole', 'load_checkpoint', 'load_weights', 'loader_schemes', 'open_decrypted', 'publish',
           'read_key_file', 'save_checkpoint', 'save_weights', 'set_encryption_key', 'translate', 'unwrap',
           'without_names', 'write_atomically', 'write_last_checkpoint']
