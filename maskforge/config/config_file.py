"""One config file and its bases, read with the place of every key.

The grammar is MMEngine's: ``_base_``, ``_delete_``, ``{{fileDirname}}``, ``{{$ENV:default}}``, ``{{_base_.name}}`` and
``_base_.name``. MMEngine's own reader forgets which file and line a value came from and hides both in errors;
this one keeps the syntax trees, so that errors, ``explain`` and the linter can point at them.
"""
import ast
import copy
import os
import re
import traceback
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.fileio import load as load_data

from .finding import did_you_mean
from .keys import VARIABLES_COMMENT
from .options import merge_dicts
from .packages import OWN_PACKAGE, find_config
from .secret import SECRET_KEYS

_ENVIRONMENT = re.compile(r'\{\{[\'"]?\s*\$(\w+)\s*:\s*(\S*?)\s*[\'"]?\}\}')
_BASE_NAME = re.compile(r'\{\{\s*_base_\.([\w.]+)\s*\}\}')


@dataclass(eq=False)
class ConfigFile:
    """What one file says.

    Attributes:
        path: the file.
        tree: its syntax tree (empty for JSON and YAML).
        values: what the file itself sets, before its bases.
        merged: ``values`` over the bases.
        bases: the files named in ``_base_``, in order.
        reads: names that the file's own text refers to, among them those of bases by ``_base_.name``.
        environment: environment variables used, with their values.
    """

    path: Path
    tree: ast.Module
    values: dict[str, Any] = field(default_factory=dict)
    merged: dict[str, Any] = field(default_factory=dict)
    bases: list['ConfigFile'] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    environment: dict[str, str] = field(default_factory=dict)

    def chain(self) -> list['ConfigFile']:
        """Every file of the inheritance, bases before what builds on them, this one last."""
        return [file for base in self.bases for file in base.chain()] + [self]

    def __deepcopy__(self, memo: dict) -> 'ConfigFile':
        return self  # a record of what was read: never changed after reading


def read_config_file(path: Path, parents: tuple[Path, ...] = ()) -> ConfigFile:
    """Read ``path`` and, recursively, its bases.

    Raises:
        ValueError: a syntax error, an error while the file runs, or a circle of bases; with file and line.
        FileNotFoundError: a base does not exist.
    """
    if path in parents:
        raise ValueError(f'{path}: _base_ goes in a circle: {" -> ".join(str(item) for item in (*parents, path))}')
    raw = read_text(path)
    text, environment = _substitute_text(path, raw)
    if path.suffix == '.py':
        file = ConfigFile(path, _parse(path, text), environment=environment)
        names = _base_names(file)
    elif path.suffix in ('.json', '.yaml', '.yml'):
        file = ConfigFile(path, ast.Module([], []), environment=environment)
        file.values = _read_data(path)
        names = file.values.pop('_base_', [])
    else:
        raise ValueError(f'config {path}: the suffix must be .py, .json, .yaml or .yml')
    base = _read_bases(file, [names] if isinstance(names, str) else list(names), (*parents, path))
    file.values = _run(file, base) if path.suffix == '.py' else _substitute_base(file, file.values, base)
    if raw.startswith(VARIABLES_COMMENT):
        file.reads.update(raw.splitlines()[0].removeprefix(VARIABLES_COMMENT).replace(' ', '').split(','))
    try:
        file.merged = merge_dicts(base, file.values)
    except TypeError as error:
        raise TypeError(f'{path}: {error}') from None
    return file


def read_text(path: Path) -> str:
    """The text of a config file.

    Raises:
        ValueError: it is not UTF-8 text.
    """
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text (byte {error.start}): save it in that encoding') from None


def _substitute_text(path: Path, text: str) -> tuple[str, dict[str, str]]:
    """Replace ``{{fileDirname}}`` and its kin and ``{{$NAME:default}}``; the lines keep their numbers."""
    predefined = {'fileDirname': str(path.parent), 'fileBasename': path.name, 'fileBasenameNoExtension': path.stem,
                  'fileExtname': path.suffix}
    for name, value in predefined.items():
        text = re.sub(r'\{\{\s*' + name + r'\s*\}\}', lambda _, value=value: value.replace('\\', '/'), text)
    environment: dict[str, str] = {}

    def variable(match: re.Match) -> str:
        name, default = match.groups()
        if name not in os.environ and not default:
            raise ValueError(f'{path}: environment variable {name} is not set; export {name}=... or give a default: '
                             f'{{{{${name}:default}}}}')
        if name in os.environ:
            environment[name] = os.environ[name]
        return os.environ.get(name, default)

    return _ENVIRONMENT.sub(variable, text), environment


def _parse(path: Path, text: str) -> ast.Module:
    try:
        return ast.parse(text, str(path))
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; brackets without end
        raise ValueError(f'{path} cannot be read as Python: {error or type(error).__name__}') from None
    except SyntaxError as error:
        line = (error.text or '').strip()
        line = next((f'{key} ...' for key in SECRET_KEYS if key in line), line)
        raise ValueError(f'{path}:{error.lineno}: syntax error: {error.msg}: {line}') from None


def _read_data(path: Path) -> dict:
    try:
        values = load_data(str(path))
    except Exception as error:
        raise ValueError(f'{path}: not readable as {path.suffix[1:]}: {error}') from error
    if not isinstance(values, dict):
        raise ValueError(f'{path}: a config holds a mapping at the top, got {type(values).__name__}')
    return values


def _base_names(file: ConfigFile) -> list[str] | str:
    for node in file.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == '_base_':
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                return eval(compile(ast.Expression(node.value), str(file.path), 'eval'))
    return []


def _read_bases(file: ConfigFile, names: list[str], parents: tuple[Path, ...]) -> ConfigDict:
    merged = ConfigDict()
    owners: dict[str, str] = {}
    for name in names:
        try:
            path = find_config(name, folder=file.path.parent)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{file.path}: _base_ '{name}': {error}") from None
        base = read_config_file(path, parents)
        for key in base.merged:
            if key in owners:
                raise ValueError(f"{file.path}: '{key}' is set by two of its bases, {owners[key]} and {name}; let one "
                                 'base inherit the other, or set the key in one of them')
            owners[key] = name
        package = name.partition('::')[0] if '::' in name else OWN_PACKAGE
        merged.update(base.merged if package == OWN_PACKAGE else _scoped(base.merged, package))
        file.bases.append(base)
        file.environment.update(base.environment)
    return ConfigDict(merged)


def _scoped(value: Any, scope: str) -> Any:
    """Mark the outermost dicts with a ``type`` as belonging to another package's registries."""
    if isinstance(value, dict):
        if 'type' in value:
            return {'_scope_': scope, **value}
        return {key: _scoped(item, scope) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_scoped(item, scope) for item in value)
    return value


def _run(file: ConfigFile, base: ConfigDict) -> dict[str, Any]:
    """Execute the file's statements and return the names it sets."""
    tree = _BaseReferences(file.path).visit(copy.deepcopy(file.tree))
    tree.body = [node for node in tree.body if not _assigns_base(node)]
    file.reads = _names_read(tree)
    space: dict[str, Any] = {'_base_': base}
    try:
        exec(compile(ast.fix_missing_locations(tree), str(file.path), 'exec'), space)
    except Exception as error:
        raise ValueError(_explain_failure(file.path, error, base)) from error
    return {key: value for key, value in space.items() if key != '_base_' and not key.startswith('__')
            and not isinstance(value, (types.FunctionType, types.ModuleType))}


def _explain_failure(path: Path, error: Exception, base: dict) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f'{path}:{lines[-1]}' if lines else str(path)
    message = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
    missing = getattr(error, 'name', None) or re.findall(r"attribute '(\w+)'", str(message))[-1:]
    name = missing if isinstance(missing, str) else (missing[0] if missing else '')
    return f'{place}: {type(error).__name__}: {message or "no message"}{did_you_mean(name, base) if name else ""}'


def _assigns_base(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == '_base_'


def _names_read(tree: ast.Module) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == '_base_':
            names.add(node.attr)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == '_base_' \
                and isinstance(node.slice, ast.Constant):
            names.add(str(node.slice.value))
    return names


class _BaseReferences(ast.NodeTransformer):
    """Turn ``{{_base_.name}}``, bare or inside a string, into the expression ``_base_.name``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def visit_Set(self, node: ast.Set) -> ast.AST:
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1 \
                and ast.unparse(inner.elts[0]).startswith('_base_.'):
            return ast.copy_location(inner.elts[0], node)
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str) or '_base_' not in node.value:
            return node
        parts = _BASE_NAME.split(node.value)
        if len(parts) == 1:
            return node
        if len(parts) == 3 and not parts[0] and not parts[2]:
            return ast.copy_location(ast.parse(f'_base_.{parts[1]}', mode='eval').body, node)
        pieces = [repr(part) if index % 2 == 0 else f'str(_base_.{part})' for index, part in enumerate(parts)]
        return ast.copy_location(ast.parse(' + '.join(pieces), mode='eval').body, node)


def _substitute_base(file: ConfigFile, value: Any, base: ConfigDict) -> Any:
    """The same for JSON and YAML, where references live in strings only."""
    if isinstance(value, dict):
        return {key: _substitute_base(file, item, base) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute_base(file, item, base) for item in value]
    if not isinstance(value, str):
        return value
    for name in _BASE_NAME.findall(value):
        file.reads.add(name.split('.')[0])
        found: Any = base
        for part in name.split('.'):
            if not isinstance(found, dict) or part not in found:
                raise ValueError(f'{file.path}: {{{{_base_.{name}}}}}: the bases do not set {name}'
                                 f'{did_you_mean(part, found if isinstance(found, dict) else ())}')
            found = found[part]
        if _BASE_NAME.fullmatch(value):
            return found
        value = _BASE_NAME.sub(lambda _, found=found: str(found), value, count=1)
    return value
