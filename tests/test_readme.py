"""What README.md and the docs say holds: links, files, flags of commands, and the Python blocks run."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md')),
         *sorted((ROOT / 'configs').rglob('*.md')), *sorted((ROOT / 'maskforge').rglob('*.md'))]
VERBS = {'train.py': 'train', 'test.py': 'test', 'infer.py': 'infer', 'export.py': 'export'}


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', page.read_text(encoding='utf-8'), flags=re.DOTALL)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', page.read_text(encoding='utf-8'))
    broken = [link for link in links if '://' not in link and not (page.parent / link).exists()]
    assert not broken


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_scripts_and_configs_exist(page):
    names = re.findall(r'(?:tools|configs)/[\w./+-]+\.(?:py|sh)', page.read_text(encoding='utf-8'))
    assert not [name for name in names if not (ROOT / name).exists()]


def test_python_blocks_of_the_readme_run():
    blocks = _blocks(ROOT / 'README.md', 'python')
    assert len(blocks) == 2
    for block in blocks:
        done = subprocess.run([sys.executable, '-c', block], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.parametrize('verb', ['train', 'test', 'infer', 'export'])
def test_flags_in_shell_blocks_exist(verb):
    usage = subprocess.run([sys.executable, '-m', 'maskforge.cli.main', verb, '--help'], capture_output=True, text=True,
                           cwd=ROOT).stdout
    lines = [line.split('#')[0] for page in PAGES for block in _blocks(page, 'sh') for line in block.splitlines()
             if f'tools/{verb}.py' in line or f'maskforge {verb} ' in line]
    flags = {flag for line in lines for flag in re.findall(r'(?<=\s)--[\w-]+', line)}
    assert lines and not {flag for flag in flags if flag not in usage}


def test_verbs_in_the_docs_exist():
    from maskforge.cli.main import VERBS
    text = '\n'.join(page.read_text(encoding='utf-8') for page in PAGES)
    named = set(re.findall(r'`maskforge ([a-z][\w-]*)', text))
    assert named <= {*VERBS, '--help'}, named - set(VERBS)
