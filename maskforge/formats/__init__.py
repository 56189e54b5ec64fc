"""Room `formats`."""
