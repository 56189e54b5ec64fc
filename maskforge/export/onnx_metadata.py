"""What an exported file says about itself: JSON under the key ``maskforge`` of the file's metadata."""
import json
from pathlib import Path
from typing import Any

KEY = 'maskforge'
INSTALL = "this needs the 'onnx' packages: pip install maskforge[export]"


def require(name: str) -> Any:
    """Import ``onnx``, ``onnxruntime`` or ``onnxscript``.

    Raises:
        ImportError: it is not installed; the message names the extra that brings it.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"'{name}' is not installed; {INSTALL}") from error


def write_metadata(model, metadata: dict[str, Any]) -> None:
    """Put ``metadata`` (JSON-able) into an ``onnx.ModelProto`` in place."""
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = text
            return
    model.metadata_props.add(key=KEY, value=text)


def parse_metadata(properties: dict[str, str], *, path: str | Path) -> dict[str, Any]:
    """Read our JSON from a file's string properties (onnxruntime: ``session.get_modelmeta().custom_metadata_map``).

    Raises:
        ValueError: the file was not written by ``maskforge export``.
    """
    if KEY not in properties:
        raise ValueError(f"{path} has no '{KEY}' metadata: it was not written by tools/export.py, so its classes and "
                         f'preprocessing are unknown. Export it again from the checkpoint.')
    return json.loads(properties[KEY])
