"""``load_config``: a config file, its bases and the command line's options as one Config."""
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config as _Config

from .config import Config
from .config_file import read_config_file, read_text
from .forms import wrong_forms
from .keys import BUILTIN_HOOKS, DEFAULT_HOOKS
from .old_keys import OLD_KEYS, rename_old_keys
from .options import merge_dicts, merge_options, parse_options
from .packages import find_config
from .secret import refuse_secret_options

_log = logging.getLogger('maskforge.config')


def load_config(path: str | Path, *, options: Sequence[str] = ()) -> Config:
    """Load a config for training, testing or export.

    Args:
        path: a file, or ``maskforge::mask_rcnn/x.py`` for a shipped one.
        options: ``key=value`` strings as of ``--cfg-options``; old keys are accepted.

    Raises:
        FileNotFoundError: the file or one of its bases does not exist.
        ValueError, KeyError, TypeError: the file or an option cannot be read; with file and line, or the option.
        ImportError: a module of ``custom_imports`` cannot be imported.
    """
    file = find_config(path)
    origin = None if _is_lazy(file) else read_config_file(file)
    values = _read_lazy(file) if origin is None else unshared(origin.merged)
    _refuse_wrong_forms(values, path)
    refuse_secret_options(options)
    given = parse_options(options)
    values, given, notes = _apply_options(values, given)
    _refuse_wrong_forms(values, path)
    _settle(values, notes)
    for note in dict.fromkeys(notes):
        _note(f'{path}: {note}')
    config = Config(values, filename=str(file), env_variables=dict(origin.environment) if origin else None)
    config.remember(origin, given)
    import_custom_modules(values.get('custom_imports'), folder=file.parent)
    return config


def unshared(value: Any) -> Any:
    """Copy nested dicts, lists and tuples so that no two keys hold the same object; leaves stay as they are.

    ``test_dataloader = val_dataloader`` makes one dict of two keys; an option for one must not change the other.
    """
    if isinstance(value, dict):
        return {key: unshared(item) for key, item in dict.items(value)}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(unshared(item) for item in value)
    return value


def _refuse_wrong_forms(values: dict, path: str | Path) -> None:
    for problem in wrong_forms(values):
        raise ValueError(f'{path}: {problem}')


def _apply_options(values: dict, given: dict[str, Any]) -> tuple[dict, dict[str, Any], list[str]]:
    """Options over the file; an old key joins the file's own old key, or is renamed where the file uses new ones."""
    old = {key: value for key, value in given.items() if key.split('.')[0] in OLD_KEYS}
    joined = {key: value for key, value in old.items() if key.split('.')[0] in values}
    merge_options(values, joined)
    values, notes = rename_old_keys(values)
    renamed, more = _rename_options({key: value for key, value in old.items() if key not in joined}, values)
    final = {**renamed, **{key: value for key, value in given.items() if key not in old}}
    merge_options(values, final)
    return values, {**final, **joined}, notes + more


def _rename_options(old: dict[str, Any], values: dict) -> tuple[dict[str, Any], list[str]]:
    if not old:
        return {}, []
    nested: dict = {}
    for key, value in old.items():
        branch: Any = value
        for part in reversed(key.split('.')):
            branch = {part: branch}
        nested = merge_dicts(nested, branch)
    if 'CLASSES' in nested:
        nested.update({name: {'dataset': {}} for name in ('train_dataloader', 'val_dataloader', 'test_dataloader')
                       if values.get(name)})
    renamed, notes = rename_old_keys(nested)
    return _flatten(renamed), notes


def _flatten(values: dict, prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value and '_delete_' not in value:
            flat.update(_flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def _settle(values: dict, notes: list[str]) -> None:
    """Defaults and spellings that MMEngine does not take."""
    values.setdefault('default_scope', 'maskforge')
    for name, hook in list((values.get('default_hooks') or {}).items()):
        if isinstance(hook, dict) and 'type' not in hook and name in DEFAULT_HOOKS:
            values['default_hooks'][name] = {'type': DEFAULT_HOOKS[name], **hook}
        elif hook is None and name not in BUILTIN_HOOKS:  # MMEngine can only be told to leave out its own
            values['default_hooks'].pop(name)
    resume = values.get('resume')
    if isinstance(resume, str):
        values['resume'] = resume.lower() not in ('', 'false')
        if resume.lower() not in ('auto', 'true', 'false', ''):
            values['load_from'] = resume
        elif values['resume']:
            values['load_from'] = None
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = values.get(name)
        if isinstance(loader, dict) and loader.get('num_workers') == 0 and loader.get('persistent_workers'):
            loader['persistent_workers'] = False
            notes.append(f'{name}.persistent_workers is set to False: num_workers=0 has no workers to keep')


def _note(text: str) -> None:
    if os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0':
        _log.warning(text)


def _is_lazy(path: Path) -> bool:
    """Whether MMEngine calls this a pure Python config: it inherits by ``with read_base()``."""
    return path.suffix == '.py' and 'read_base' in read_text(path)


def _read_lazy(path: Path) -> dict:
    try:
        return unshared(_Config.fromfile(str(path), lazy_import=True, import_custom_modules=False).to_dict())
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith('.py')
                  and frame.filename == str(path)]
        place = f'{path}:{frames[-1].lineno}' if frames else str(path)
        reason = str(error) or ('a call while the config is read: a config with read_base() may only call classes that '
                                'the framework builds later, so compute the value beforehand and write it down')
        raise ValueError(f'{place}: {type(error).__name__}: {reason}') from error


def import_custom_modules(custom_imports: dict | None, *, folder: Path) -> None:
    """Import the modules of ``custom_imports``; they are also looked for in the current folder and beside the config.

    Raises:
        ValueError: ``custom_imports`` is not ``dict(imports=[...], allow_failed_imports=False)``.
        ImportError: a module that cannot be imported, unless failures are allowed.
    """
    if not custom_imports:
        return
    if not isinstance(custom_imports, dict) or set(custom_imports) - {'imports', 'allow_failed_imports'}:
        raise ValueError('custom_imports must be dict(imports=[names], allow_failed_imports=False), '
                         f'got {custom_imports!r}')
    names = custom_imports.get('imports', [])
    names = [names] if isinstance(names, str) else list(names)
    for place in (str(Path.cwd()), str(folder)):
        if place not in sys.path:
            sys.path.append(place)
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if custom_imports.get('allow_failed_imports', False):
                _note(f"custom_imports: '{name}' is skipped: {error}")
                continue
            raise ImportError(f"custom_imports: module '{name}' cannot be imported: {error}. Looked in the current "
                              f'folder, in {folder} and on PYTHONPATH; start where the module lies, or set '
                              'PYTHONPATH') from error
