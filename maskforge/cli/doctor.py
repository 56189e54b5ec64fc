"""``maskforge doctor``: what this machine has, and which known problems it has."""
import argparse
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, version

from .errors import run_verb

_PACKAGES = ('torch', 'torchvision', 'mmengine', 'onedl-mmengine', 'mmcv', 'mmcv-lite', 'numpy', 'timm', 'pycocotools',
             'faster-coco-eval', 'onnx', 'onnxruntime', 'onnxscript', 'tensorboard')
_OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')


def parser() -> argparse.ArgumentParser:
    """No arguments of its own."""
    return argparse.ArgumentParser(prog='maskforge doctor', description='Versions, devices and known problems.')


def main(argv: list[str] | None = None) -> int:
    """Print the report; return 1 when there is a problem."""
    return run_verb(parser(), _doctor, argv)


def _doctor(args: argparse.Namespace) -> int:
    from maskforge import __version__
    rows = [('maskforge', __version__), ('python', f'{sys.version.split()[0]} ({sys.executable})'),
            ('system', platform.platform())]
    rows += [(name, _version(name)) for name in _PACKAGES if _version(name)]
    rows += [('opencv', ', '.join(f'{name} {_version(name)}' for name in installed_opencvs()) or 'none')]
    rows += [*_devices(), ('cpu', f'{os.cpu_count()} cores')]
    for name, value in rows:
        print(f'{name:<24} {value}')
    problems = list(find_problems())
    print('\n'.join(['', *(f'problem: {item}' for item in problems)]) if problems else '\nno known problem')
    return 1 if problems else 0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ''


def installed_opencvs() -> list[str]:
    """Names of the installed OpenCV distributions; more than one overwrite each other's files."""
    names = {(item.metadata['Name'] or '').lower() for item in distributions()}
    return [name for name in _OPENCV if name in names]


def _devices() -> Iterator[tuple[str, str]]:
    try:
        import torch
    except ImportError:
        return
    yield 'CUDA_VISIBLE_DEVICES', os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')
    if not torch.cuda.is_available():
        yield 'gpu', 'none that torch can use' + ('' if torch.version.cuda else ' (this torch is built for CPUs)')
        return
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        yield f'gpu {index}', f'{facts.name}, {facts.total_memory / 2 ** 30:.0f} GiB'


def find_problems() -> Iterator[str]:
    """Known problems of this installation, each with its remedy."""
    for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'cv2', 'pycocotools'):
        problem = import_problem(name)
        if problem:
            yield problem
    opencvs = installed_opencvs()
    if len(opencvs) > 1:
        yield (f'{" and ".join(opencvs)} are installed together and overwrite each other; keep one: pip uninstall -y '
               f'{" ".join(opencvs)} && pip install opencv-python-headless')
    if _version('mmcv') and _version('mmcv-lite'):
        yield 'mmcv and mmcv-lite are both installed and overwrite each other; pip uninstall -y one of them'
    if _version('mmengine') and _version('onedl-mmengine'):
        yield 'mmengine and onedl-mmengine are both installed and overwrite each other; pip uninstall -y one of them'
    if importlib.util.find_spec('setuptools') is None and sys.version_info >= (3, 12):
        yield 'setuptools is missing, and mmengine imports distutils from it; pip install setuptools'


def import_problem(name: str) -> str:
    """Why ``name`` cannot be imported, with the remedy; empty when it can."""
    try:
        importlib.import_module(name)
        return ''
    except ImportError as error:
        return explain_import_error(name, str(error))


def explain_import_error(name: str, message: str) -> str:
    """A sentence for an ``ImportError``; the missing system libraries of OpenCV's GUI build are known."""
    if 'libGL' in message or 'libgthread' in message or 'libGLU' in message:
        return (f'{name} cannot be imported: {message}. This is the OpenCV build with windows, which needs the '
                'graphics libraries of a desktop; servers do without: pip uninstall -y opencv-python && pip install '
                '--force-reinstall opencv-python-headless (or apt-get install libgl1 libglib2.0-0)')
    package = {'cv2': 'opencv-python-headless', 'mmcv': 'mmcv-lite'}.get(name, name)
    return f'{name} cannot be imported: {message}; pip install {package}'


if __name__ == '__main__':
    sys.exit(main())
