"""Room `visualization`."""
