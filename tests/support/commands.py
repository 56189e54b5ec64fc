"""Commands as users type them, and what they leave behind."""
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / 'tests' / 'e2e' / 'toy_mask_rcnn.py'


def environment(**more: str) -> dict[str, str]:
    """CPU only, one thread (what several processes must equal), and this Python first, as in an active environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    return {**os.environ, 'PATH': path, 'CUDA_VISIBLE_DEVICES': '-1', 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1',
            **more}


def run(*command: str | Path, check: bool = True, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess:
    """Run a command in the repository; its output is in the failure's message."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment(**env), capture_output=True,
                          text=True, timeout=900)
    if check and done.returncode:
        raise AssertionError(f'{command} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}')
    return done


def tool(name: str, *arguments: str | Path, **options) -> subprocess.CompletedProcess:
    """Run ``python tools/<name>``."""
    return run(sys.executable, ROOT / 'tools' / name, *arguments, **options)


def scalars(work_dir: Path) -> list[dict]:
    """The JSON lines of the newest log below ``work_dir``."""
    newest = max(work_dir.rglob('scalars.json'), key=lambda path: path.stat().st_mtime)
    return [json.loads(line) for line in newest.read_text().splitlines()]


def metrics(work_dir: Path) -> dict[str, float]:
    """The metrics of a test run."""
    found = [path for path in work_dir.rglob('*.json') if path.parent.name != 'vis_data']
    return json.loads(max(found, key=lambda path: path.stat().st_mtime).read_text())
