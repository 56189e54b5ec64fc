"""Steps of a demonstration: commands that a user would type, run one after another in the repository."""
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_step(title: str, script: str, *arguments: object) -> None:
    """Run one command in the repository, shown as the user would type it.

    Raises:
        ValueError: the command failed.
    """
    words = ['python', script, *map(str, arguments)]
    print(f'\n== {title}\n$ {shlex.join(words)}', flush=True)
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT)
    if done.returncode:
        raise ValueError(f'the step "{title}" ended with exit code {done.returncode}; its output is above')


def best_checkpoint(work_dir: Path) -> Path:
    """The best checkpoint of a run, else the last; relative to the repository."""
    from maskforge.checkpoints import find_latest
    best = sorted((ROOT / work_dir).glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    found = best[-1] if best else find_latest(ROOT / work_dir)
    return Path(os.path.relpath(found, ROOT))


def newest_metrics(folder: Path) -> dict:
    """The metrics that the newest test run below ``folder`` wrote."""
    logs = [path for path in (ROOT / folder).rglob('*.json') if path.parent.name != 'vis_data']
    return json.loads(max(logs, key=lambda path: path.stat().st_mtime).read_text().splitlines()[-1])
