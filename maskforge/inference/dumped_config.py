"""Reading the config text that a checkpoint carries, without running it."""
import ast
from typing import Any

from mmengine.config import Config


def parse_dumped_config(text: str, *, source: str) -> Config:
    """Read a config as MMEngine dumps it: assignments of literals and ``dict(...)`` calls.

    Args:
        text: Python text of a merged config.
        source: name of the checkpoint, for messages.

    Raises:
        ValueError: the text does anything else; running it could run code of whoever made the checkpoint.
    """
    values: dict[str, Any] = {}
    try:
        for statement in ast.parse(text).body:
            if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
                raise ValueError(f'line {statement.lineno} is no assignment')
            values[statement.targets[0].id] = _value(statement.value)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'{source}: its config text cannot be read as plain values ({error}); give the config file '
                         f'and the checkpoint instead.') from error
    return Config(values)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args):
            raise ValueError(f'line {node.lineno} calls {ast.unparse(node.func)}')
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(key): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)
