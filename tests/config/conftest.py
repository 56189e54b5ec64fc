"""Small config files on disk."""
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path):
    """``write('a.py', text)`` writes a file below a temporary folder and returns its path."""
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
        return path
    return write_file
