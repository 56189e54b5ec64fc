"""Where config files lie: paths, ``maskforge::mask_rcnn/x.py``, and ``package::x.py`` of other installed packages.

MMEngine's own resolver needs ``pkg_resources``, which setuptools removed in version 82; this one asks importlib.
"""
import difflib
import importlib.util
from pathlib import Path

OWN_PACKAGE = 'maskforge'
_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def shipped_configs_dir() -> Path:
    """The folder of the shipped configs: inside an installed wheel, or ``configs/`` beside a source checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    package = _package_dir(OWN_PACKAGE)
    for folder in (package / '_configs', package.parent / 'configs'):
        if (folder / '_base_').is_dir():
            return folder
    raise FileNotFoundError(f'the shipped configs are missing: neither {package / "_configs"} nor '
                            f'{package.parent / "configs"} exists; reinstall maskforge')


def shipped_configs() -> list[str]:
    """Names of all shipped leaf configs, such as ``mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py``."""
    root = shipped_configs_dir()
    names = (path.relative_to(root) for path in root.rglob('*.py'))
    return sorted(name.as_posix() for name in names if '_base_' not in name.parts)


def find_config(name: str | Path, *, folder: Path | None = None) -> Path:
    """Return the file that ``name`` means; a relative path starts at ``folder`` (the current one by default).

    Raises:
        FileNotFoundError: no such file or package; the message names near files.
    """
    if '::' in str(name):
        return _find_in_package(str(name))
    path = (folder or Path.cwd()) / Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    if path.is_dir():
        raise FileNotFoundError(f'config {name} is a folder; name one file, for example '
                                f'{_first(path) or "configs/mask_rcnn/x.py"}')
    raise FileNotFoundError(f'config file {name} does not exist.{_near(path)}')


def _find_in_package(name: str) -> Path:
    package, _, rest = name.partition('::')
    if package == OWN_PACKAGE:
        folders = [shipped_configs_dir()]
    else:
        root = _package_dir(package)
        folders = [root / '.mim' / 'configs', root / '_configs', root / 'configs', root, root.parent / 'configs']
    for folder in folders:
        for candidate in (folder / rest, folder / f'{rest}.py'):
            if candidate.is_file():
                return candidate.resolve()
    raise FileNotFoundError(f'config {name} does not exist in package {package}.{_near(folders[0] / rest)}')


def _package_dir(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise FileNotFoundError(f"config base '{package}::...': package {package} is not installed; install it or "
                                'copy the base config next to yours and name it by path')
    return Path(places[0])


def _near(path: Path) -> str:
    """A sentence with the files whose names are nearest: in the same folder, then among the shipped configs."""
    folder = path.parent
    if not folder.is_dir():
        shipped = _near_shipped(path)
        return shipped or f' The folder {folder} does not exist either.'
    names = [item.name for item in folder.iterdir() if item.suffix in _SUFFIXES]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    if near:
        return f' Near names in {folder}: {", ".join(near)}'
    return _near_shipped(path) or f' {folder} holds {len(names)} config files.'


def _near_shipped(path: Path) -> str:
    try:
        names = {Path(name).name: name for name in shipped_configs()}
    except FileNotFoundError:
        return ''
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f' Near shipped configs: {", ".join(f"{OWN_PACKAGE}::{names[name]}" for name in near)}' if near else ''


def _first(folder: Path) -> Path | None:
    return next((path for path in sorted(folder.rglob('*.py'))), None)
