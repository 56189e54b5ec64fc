"""Shared by all tests: one thread layout, no GPU tests without a GPU, the scope of the registries."""
import pytest
import torch
from mmengine.registry import init_default_scope

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('maskforge')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))
