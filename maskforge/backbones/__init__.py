"""Room `backbones`."""
