"""A drawn data set on disk, shared by the tests of this room."""
import pytest

from maskforge.datasets.synthetic import draw_shapes


@pytest.fixture(scope='session')
def drawn(tmp_path_factory):
    """Eight training and three validation pictures of 64 pixels, with everything that can be drawn."""
    return draw_shapes(tmp_path_factory.mktemp('shapes'), num_train=8, num_val=3, size=64, panoptic=True, semantic=True,
                       clips=1, clip_length=4)
