"""Room `config`."""
