"""Shared by SAM 2's tests."""
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors: more threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
