"""Shared by SAM 2's tests."""
from one_thread import one_thread

__all__ = ['one_thread']
