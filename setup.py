"""Packaging: name, version, requirements/*.txt as install_requires and extras, configs inside the wheel."""
import re
from pathlib import Path

from setuptools import find_packages, setup

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


EXTRAS = {name: requirements(name) for name in ('export', 'tracking', 'fast', 'secure', 'tests', 'docs')}
EXTRAS['all'] = sorted({line for name in ('export', 'tracking', 'fast', 'secure') for line in EXTRAS[name]})
EXTRAS['dev'] = sorted({line for lines in EXTRAS.values() for line in lines})

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
    install_requires=requirements('runtime'),
    extras_require=EXTRAS,
    entry_points={'console_scripts': ['maskforge=maskforge.cli.main:main']},
)
