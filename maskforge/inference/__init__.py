"""Room `inference`."""
