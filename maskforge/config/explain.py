"""Which file and line set a value, and what it replaced."""
import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .config_file import ConfigFile
from .config_text import config_text
from .finding import did_you_mean
from .load import load_config, unshared
from .old_keys import OLD_KEYS, rename_old_keys

_UNSET = object()


def explain(path: str | Path, key: str, *, options: Sequence[str] = ()) -> str:
    """Describe where ``key`` of a config got its value.

    Args:
        path: the config, as for ``load_config``.
        key: dotted key, ``train_dataloader.dataset.pipeline.2.scale``.
        options: ``key=value`` strings of a command line.

    Returns:
        The value, then one line per place that set it, the effective one first.

    Raises:
        KeyError: the config has no such key; the message names near ones.
    """
    cfg = load_config(path, options=options)
    parts = key.split('.')
    value = look_up(cfg.to_dict(), parts)
    if value is _UNSET:
        raise KeyError(f"'{key}' is not in {path}.{_near(cfg.to_dict(), parts)}")
    lines = [f'{key} = {_short(parts[-1], value)}']
    places = list(_option_places(cfg.option_keys, parts))
    if cfg.origin is not None:
        for file in reversed(cfg.origin.chain()):
            places += _file_places(file, parts)
    if not places:
        places = ['set by maskforge as a default, no file sets it']
    lines += [f'  {"set" if index == 0 else "over"}  {place}' for index, place in enumerate(places)]
    return '\n'.join(lines)


def look_up(values: Any, parts: Sequence[str]) -> Any:
    """The value at a dotted path of dicts and lists, or a sentinel that is no value."""
    for part in parts:
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, (list, tuple)) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return _UNSET
    return values


def _short(key: str, value: Any, limit: int = 100) -> str:
    text = config_text({key: value}).partition(' = ')[2].strip()
    text = ' '.join(text.split())
    return text if len(text) <= limit else f'{text[:limit - 3]}...'


def _near(values: dict, parts: list[str]) -> str:
    for depth, part in enumerate(parts):
        here = look_up(values, parts[:depth])
        if look_up(values, parts[:depth + 1]) is not _UNSET:
            continue
        names = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, (list, tuple)) else []
        place = '.'.join(parts[:depth]) or 'the config'
        return did_you_mean(part, names) or f' {place} holds: {", ".join(str(name) for name in names) or "no keys"}'
    return ''


def _option_places(options: dict[str, Any], parts: list[str]) -> Iterator[str]:
    for key, value in reversed(options.items()):
        names = key.split('.')
        if names == parts[:len(names)] or parts == names[:len(parts)]:
            yield f'command line ({key})  {_short(names[-1], value)}'


def _file_places(file: ConfigFile, parts: list[str]) -> list[str]:
    value = look_up(file.values, parts)
    if value is not _UNSET:
        line, via = locate(file.tree, parts)
        return [f'{file.path}{f":{line}" if line else ""}  {_short(parts[-1], value)}{via}']
    for depth in range(1, len(parts)):
        above = look_up(file.values, parts[:depth])
        if above is not _UNSET and (not isinstance(above, dict) or above.get('_delete_')):
            line, _ = locate(file.tree, parts[:depth])
            return [f'{file.path}:{line}  {".".join(parts[:depth])} is replaced as a whole here']
    return _old_places(file, parts)


def _old_places(file: ConfigFile, parts: list[str]) -> list[str]:
    """Places that set the value by an old key."""
    places = []
    for root in OLD_KEYS:
        if root not in file.values:
            continue
        value = look_up(rename_old_keys(unshared({root: file.values[root]}))[0], parts)
        if value is not _UNSET:
            line, _ = locate(file.tree, [root])
            places.append(f'{file.path}:{line}  {_short(parts[-1], value)}  (by the old key {root})')
    return places


def locate(tree: ast.Module, parts: Sequence[str]) -> tuple[int, str]:
    """Line of the last statement of ``tree`` that sets ``parts``, and through which variable; (0, '') if none does."""
    found = (0, '')
    for node in _statements(tree.body):
        path = _target(node)
        if path is None:
            continue
        if list(parts[:len(path)]) == path and isinstance(node, ast.Assign):
            found = _descend(tree, node.value, list(parts[len(path):]), node.lineno)
        elif path[0] == parts[0] and (path[:len(parts)] == list(parts[:len(path)]) or not isinstance(node, ast.Assign)):
            found = (node.lineno, '')
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        for block in ('body', 'orelse'):
            yield from _statements(getattr(node, block, []))


def _target(node: ast.stmt) -> list[str] | None:
    """The dotted path a statement writes to: an assignment, or a call such as ``x.update()``."""
    if isinstance(node, ast.Assign):
        return _path(node.targets[0])
    if isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        return _path(node.target)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        return _path(node.value.func.value)
    return None


def _path(node: ast.expr) -> list[str] | None:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        above = _path(node.value)
        return None if above is None else ([node.attr] if above == ['_base_'] else [*above, node.attr])
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        above = _path(node.value)
        return None if above is None else [*above, str(node.slice.value)]
    return None


def _descend(tree: ast.Module, node: ast.expr, parts: list[str], line: int) -> tuple[int, str]:
    """Follow ``parts`` into dict calls, dict and list displays and variables of the same file."""
    if isinstance(node, ast.Name):
        inner = locate(tree, [node.id, *parts])
        return (inner[0], f'  (variable {node.id})') if inner[0] else (line, '')
    if not parts:
        return line, ''
    child = _child(node, parts[0])
    if child is None:
        return line, ''
    return _descend(tree, child, parts[1:], child.lineno)


def _child(node: ast.expr, part: str) -> ast.expr | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return next((keyword.value for keyword in node.keywords if keyword.arg == part), None)
    if isinstance(node, ast.Dict):
        return next((value for key, value in zip(node.keys, node.values, strict=True)
                     if isinstance(key, ast.Constant) and str(key.value) == part), None)
    if isinstance(node, (ast.List, ast.Tuple)) and part.isdigit() and int(part) < len(node.elts):
        return node.elts[int(part)]
    return None
