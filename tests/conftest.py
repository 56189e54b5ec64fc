"""Shared by all tests: one thread layout, no GPU tests without a GPU, the scope of the registries, the log."""
import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('maskforge')


@pytest.fixture
def engine_log():
    """Messages that went to the current MMEngine logger, as a list of strings."""
    messages = []

    class Collector(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    logger, collector = MMLogger.get_current_instance(), Collector()
    logger.addHandler(collector)
    yield messages
    logger.removeHandler(collector)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))
