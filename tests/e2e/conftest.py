"""A toy Mask R-CNN over drawn shapes, trained once for all end-to-end tests."""
from pathlib import Path

import pytest
from commands import TOY, tool


@pytest.fixture(scope='session')
def trained(tmp_path_factory) -> Path:
    """Work directory of an unbroken toy run of two epochs, one process."""
    work_dir = tmp_path_factory.mktemp('trained')
    tool('train.py', TOY, '--work-dir', work_dir)
    return work_dir
