"""The house keeps its shape: room order, sizes, names, docstrings, lazy imports."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'maskforge'
FILES = sorted(PACKAGE.rglob('*.py'))
VAGUE = {'utils', 'misc', 'common', 'helpers', 'util', 'tools'}


def _public_definitions(tree: ast.Module):
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith('_'):
            yield node


def test_rooms_import_only_from_rooms_below():
    lint = subprocess.run([str(Path(sys.executable).parent / 'lint-imports'), '--no-cache'], cwd=ROOT,
                          capture_output=True, text=True)
    assert lint.returncode == 0, lint.stdout


def test_files_functions_and_names_stay_within_budget():
    over = [f'{path}: file' for path in FILES if len(path.read_text().splitlines()) > 450]
    over += [f'{path}: name' for path in FILES if path.stem in VAGUE or path.parent.name in VAGUE]
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 80:
                over.append(f'{path}:{node.lineno} {node.name}')
    assert not over, '\n'.join(over)


def test_public_names_have_docstrings():
    naked = [f'{path}:{node.lineno} {node.name}' for path in FILES
             for node in _public_definitions(ast.parse(path.read_text())) if not ast.get_docstring(node)]
    assert not naked, '\n'.join(naked)


def test_every_room_has_tests():
    rooms = [path.name for path in PACKAGE.iterdir() if (path / '__init__.py').exists()]
    assert not [room for room in rooms if not list((ROOT / 'tests' / room).rglob('test_*.py'))]


@pytest.mark.parametrize('script', ['train.py', 'test.py', 'infer.py', 'export.py'])
def test_the_four_verbs_are_thin(script):
    assert len((ROOT / 'tools' / script).read_text().splitlines()) <= 40


def test_importing_the_package_does_not_import_torch():
    code = 'import sys, maskforge; assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)
