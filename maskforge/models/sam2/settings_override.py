"""Settings of a network that hold for a while."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from maskforge.models.sam2.network import SAM2Network


@contextmanager
def settings_override(network: SAM2Network, **changes: Any) -> Iterator[None]:
    """Run the network by other settings; None leaves a setting as it is.

    Args:
        changes: settings that are read when the network runs, of
            :class:`~maskforge.models.sam2.network_settings.NetworkSettings`.
    """
    before = network.settings
    network.settings = replace(before, **{name: value for name, value in changes.items() if value is not None})
    try:
        yield
    finally:
        network.settings = before
