"""Patterns of dotted names, as configs write them."""
from collections.abc import Iterable
from fnmatch import fnmatchcase


def name_matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted name fits one of the patterns (``*``, ``?``, ``[...]``, as in file names).

    A pattern begins at the start of the name or behind one of its dots: ``'image_encoder.*'`` fits
    ``network.image_encoder.neck.bias``, so a config need not know what a model is wrapped in.
    """
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f'*.{pattern}') for pattern in patterns)
