"""MMEngine's ``CheckpointLoader`` (``init_cfg=dict(type='Pretrained', ...)``, hooks of users) reads through ours.

MMEngine 0.10.7 calls ``torch.load`` with PyTorch's new default and fails on files with logs in them; its loaders of
addresses check no hash. Newer versions repair a part. The public ``register_scheme`` replaces the loaders in all.
"""
from typing import Any

from mmengine.runner import CheckpointLoader

from .checkpoint_file import load_checkpoint


# MMEngine prints the function's name from the 11th letter on, hence load_from_
def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Read a local checkpoint without running anything in it."""
    return load_checkpoint(filename, map_location)


def load_from_http(filename: str, map_location: Any = None, **_settings: Any) -> dict:
    """Read an address or a name of a model zoo through the local cache, its hash checked."""
    return load_checkpoint(filename, map_location)


CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
CheckpointLoader.register_scheme(
    prefixes=['http://', 'https://', 'torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://'],
    loader=load_from_http, force=True)
