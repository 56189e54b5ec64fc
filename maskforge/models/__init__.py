"""Room `models`."""
