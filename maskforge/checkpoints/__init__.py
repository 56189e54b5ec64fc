"""Room `checkpoints`."""
