"""Room `layers`."""
