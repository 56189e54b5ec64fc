"""A fixture to import where tensors are tiny: more threads would wait for each other, for seconds on a busy machine."""
import pytest
import torch


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    """Torch computes with one thread in the module, its fixtures included."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
