"""Hooks: what happens around training besides training itself."""
