"""Starting the process group on whatever the machine has: NCCL with GPUs, gloo without.

MMEngine 0.10.7 calls ``torch.cuda.set_device`` on every machine and passes ``port`` on to PyTorch, which refuses it.
"""
import atexit
import datetime
import os
import re
import shutil
import subprocess
import time

import torch
import torch.distributed as torch_dist

DEFAULT_PORT = 29500
_NEEDED = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


def init_dist(launcher: str, *, backend: str | None = None, port: int | str | None = None,
              timeout: float | None = None, **options) -> list[str]:
    """Join the process group that ``launcher`` prepared.

    Args:
        launcher: 'pytorch' (torchrun, dist_train.sh) or 'slurm'.
        backend: 'nccl', 'gloo', or None for the one that fits; NCCL without a GPU becomes gloo.
        port: of rank 0 (``env_cfg.dist_cfg.port``). Under slurm it goes before ``MASTER_PORT``; torchrun's own
            port always wins, because torchrun already listens there.
        timeout: seconds until a collective that hangs is given up.
        options: passed to ``torch.distributed.init_process_group``.

    Returns:
        Notes for the log: settings that were not followed, and why.

    Raises:
        ValueError: unknown launcher, or one whose environment variables are not there.
    """
    options.pop('init_backend', None)
    if launcher == 'slurm':
        _read_slurm(port)
        notes = []
    elif launcher == 'pytorch':
        notes = _check_torchrun(port)
    else:
        raise ValueError(f"launcher='{launcher}' is not supported; use 'pytorch' (torchrun or tools/dist_train.sh, "
                         f"also under mpirun) or 'slurm', or 'none' for one process.")
    backend, note = _choose_backend(backend)
    if backend == 'nccl':
        options['device_id'] = _take_gpu()
    elif torch.cuda.is_available():
        _take_gpu()
    if timeout is not None:
        options['timeout'] = datetime.timedelta(seconds=float(timeout))
    torch_dist.init_process_group(backend=backend, **options)
    atexit.register(leave)
    return notes + note


def leave() -> None:
    """End this process's part in the group, if it has one."""
    if torch_dist.is_available() and torch_dist.is_initialized():
        # gloo's destructor in PyTorch 2.6 keeps Python's lock while it waits for threads that need the lock to let go
        # of the last tensors: give them the time before
        time.sleep(0.1)
        torch_dist.destroy_process_group()


def _choose_backend(backend: str | None) -> tuple[str, list[str]]:
    has_gpu = torch.cuda.is_available()
    if backend is None:
        return ('nccl' if has_gpu else 'gloo'), []
    if backend == 'nccl' and not has_gpu:
        return 'gloo', ['no GPU is visible: gloo takes the place of env_cfg.dist_cfg.backend=nccl']
    return backend, []


def _take_gpu() -> torch.device:
    local_rank, count = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    if local_rank >= count:
        raise ValueError(f'process {local_rank} of this machine has no GPU: only {count} are visible '
                         f'(CUDA_VISIBLE_DEVICES={os.environ.get("CUDA_VISIBLE_DEVICES", "not set")}). '
                         f'Start at most {count} processes here.')
    torch.cuda.set_device(local_rank)
    return torch.device('cuda', local_rank)


def _check_torchrun(port: int | str | None) -> list[str]:
    missing = [name for name in _NEEDED if name not in os.environ]
    if missing:
        raise ValueError(f"launcher='pytorch' needs the environment variables {', '.join(missing)}: start the "
                         f"program with tools/dist_train.sh or torchrun, or use launcher='none'.")
    if port is not None and str(port) != os.environ['MASTER_PORT']:
        return [f'env_cfg.dist_cfg.port={port} is not used: torchrun already chose {os.environ["MASTER_PORT"]} '
                f'(set it with PORT={port} tools/dist_train.sh ...)']
    return []


def _read_slurm(port: int | str | None) -> None:
    """Turn the variables of ``srun`` into those of PyTorch."""
    missing = [name for name in ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST') if name not in os.environ]
    if missing:
        raise ValueError(f"launcher='slurm' needs the environment variables {', '.join(missing)}: start the program "
                         f"with srun or tools/slurm_train.sh.")
    rank = int(os.environ['SLURM_PROCID'])
    local = os.environ.get('SLURM_LOCALID') or str(rank % max(torch.cuda.device_count(), 1))
    os.environ.update(RANK=str(rank), WORLD_SIZE=os.environ['SLURM_NTASKS'], LOCAL_RANK=local)
    if port is not None:
        os.environ['MASTER_PORT'] = str(port)
    os.environ.setdefault('MASTER_PORT', str(DEFAULT_PORT))
    os.environ.setdefault('MASTER_ADDR', _first_host(os.environ['SLURM_NODELIST']))


def _first_host(nodes: str) -> str:
    """First machine of a Slurm node list such as ``gpu[03-05,9],login``."""
    if shutil.which('scontrol'):
        answer = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.split():
            return answer.stdout.split()[0]
    head = re.match(r'([^,\[]+)(?:\[(\d+))?', nodes)
    if head is None:
        raise ValueError(f'SLURM_NODELIST={nodes} names no machine; set MASTER_ADDR yourself.')
    return head.group(1) + (head.group(2) or '')
