"""Packaging: name, version, requirements/*.txt as install_requires and extras, configs inside the wheel."""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def requirements(name: str) -> list[str]:
    """Lines of requirements/<name>.txt, with ``-r other.txt`` followed."""
    found: list[str] = []
    for line in (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines():
        line = line.split('#')[0].strip()
        if line.startswith('-r '):
            found += requirements(line[3:].strip().removesuffix('.txt'))
        elif line:
            found.append(line)
    return found


def version() -> str:
    """The version written in maskforge/__init__.py."""
    text = (ROOT / 'maskforge' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '([^']+)'", text).group(1)


FEATURES = ('export', 'tracking', 'fast', 'cpu', 'secure', 'video')
EXTRAS = {name: requirements(name) for name in (*FEATURES, 'tests', 'docs')}
EXTRAS['all'] = sorted({line for name in FEATURES for line in EXTRAS[name]})
EXTRAS['dev'] = sorted({line for lines in EXTRAS.values() for line in lines})

class BuildWithConfigs(build_py):
    """Puts configs/ into the wheel as maskforge/_configs, where ``maskforge::name.py`` looks."""

    def run(self) -> None:
        super().run()
        if not getattr(self, 'editable_mode', False):
            target = Path(self.build_lib) / 'maskforge' / '_configs'
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / 'configs', target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))


setup(
    name='maskforge',
    version=version(),
    description='Training, labelling and deploying masks: Mask R-CNN, Deformable DETR, Mask2Former, MAL, SAM 2',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8') if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10,<3.14',
    packages=find_packages(include=['maskforge', 'maskforge.*']),
    package_data={'maskforge': ['py.typed']},
    cmdclass={'build_py': BuildWithConfigs},
    install_requires=requirements('runtime'),
    extras_require=EXTRAS,
    entry_points={'console_scripts': ['maskforge=maskforge.cli.main:main']},
)
