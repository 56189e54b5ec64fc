"""Page-locked memory, from which a GPU copies while the host goes on."""
from typing import TypeVar

from mmengine.structures import BaseDataElement

Element = TypeVar('Element', bound=BaseDataElement)


def pinned(element: Element) -> Element:
    """Return ``element`` with every field that can be pinned in page-locked memory, those of its elements too."""
    found = element.new()
    for name, value in element.items():
        if isinstance(value, BaseDataElement):
            found.set_data({name: pinned(value)})
        elif hasattr(value, 'pin_memory'):
            found.set_data({name: value.pin_memory()})
    return found
