"""Fixtures of the backbones' tests."""
import logging

import pytest
from mmengine.logging import MMLogger


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
