"""``--num-gpus`` and ``--gpu-ids``: starting the processes of one machine without a launcher script."""
import argparse
import os
import socket
import sys
from pathlib import Path

from .arguments import gpu_ids

_ROOT = Path(__file__).resolve().parents[2]
# as in dist_train.sh: signals that torchrun hands on, and seconds until it kills what has not ended after one
_TORCHRUN = dict(PET_SIGNALS_TO_HANDLE='SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1', TORCH_ELASTIC_SHUTDOWN_TIMEOUT='120')


def start_processes(args: argparse.Namespace, verb: str, argv: list[str] | None) -> None:
    """Become ``torchrun`` with one process per GPU when the flags ask for more than one; return otherwise.

    Raises:
        ValueError: more GPUs are asked for than the machine has, or the launcher started another number.
    """
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    ids = gpu_ids(args)
    if args.num_gpus is None and ids is None:
        return
    count = process_count(args.num_gpus, ids)
    if args.launcher != 'none':
        _compare_with_launcher(args.launcher, count)
        return
    environment = dict(os.environ)
    visible = visible_devices(ids, count)
    if visible is not None:
        environment['CUDA_VISIBLE_DEVICES'] = os.environ['CUDA_VISIBLE_DEVICES'] = visible
    if count == 1 and int(os.environ.get('NNODES', '1')) == 1:
        return
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get('PYTHONPATH')]))
    for name, value in _TORCHRUN.items():
        environment.setdefault(name, value)
    command = torchrun_command(count, ['-m', 'maskforge.cli.main', verb, *_arguments(argv), '--launcher', 'pytorch'])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)


def process_count(num_gpus: int | None, ids: list[int] | None) -> int:
    """The larger count wins: ``num_gpus=1, gpu_ids=[0, 1]`` means 2.

    Raises:
        ValueError: a GPU is named twice.
    """
    if ids is not None and len(set(ids)) != len(ids):
        raise ValueError(f'--gpu-ids {" ".join(map(str, ids))} names a GPU twice')
    return max(num_gpus or 1, len(ids or ()))


def visible_devices(ids: list[int] | None, count: int) -> str | None:
    """Value of ``CUDA_VISIBLE_DEVICES`` for ``count`` processes on ``ids`` first; None leaves it as it is.

    ``ids`` count within a ``CUDA_VISIBLE_DEVICES`` that is set already. Without any GPU, or with
    ``CUDA_VISIBLE_DEVICES=-1``, the processes run on the CPU.

    Raises:
        ValueError: the machine has GPUs, but fewer than asked for.
    """
    given = os.environ.get('CUDA_VISIBLE_DEVICES')
    names = [part.strip() for part in given.split(',') if part.strip()] if given is not None else None
    if names is None:
        import torch  # slow, and only needed to count devices
        names = [str(index) for index in range(torch.cuda.device_count())]
    if not names or names[0].startswith('-'):
        return None
    wanted = list(ids or ())
    wanted += [index for index in range(len(names)) if index not in wanted][:count - len(wanted)]
    if len(wanted) < count or max(wanted) >= len(names):
        raise ValueError(f'{count} processes on GPUs {ids or "0 and up"} were asked for, but this machine shows '
                         f'{len(names)} GPUs; ask for fewer, or set CUDA_VISIBLE_DEVICES=-1 to run on the CPU')
    return ','.join(names[index] for index in wanted)


def torchrun_command(count: int, target: list[str]) -> list[str]:
    """The command line of torchrun; ``NNODES``, ``NODE_RANK``, ``MASTER_ADDR`` and ``PORT`` as in dist_train.sh."""
    nodes = os.environ.get('NNODES', '1')
    port = os.environ.get('PORT') or (str(_free_port()) if nodes == '1' else '29500')
    return [sys.executable, '-m', 'torch.distributed.run', f'--nnodes={nodes}',
            f'--node_rank={os.environ.get("NODE_RANK", "0")}', f'--nproc_per_node={count}',
            f'--master_addr={os.environ.get("MASTER_ADDR", "127.0.0.1")}', f'--master_port={port}', *target]


def _arguments(argv: list[str] | None) -> list[str]:
    return list(sys.argv[1:] if argv is None else argv)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _compare_with_launcher(launcher: str, count: int) -> None:
    name = 'LOCAL_WORLD_SIZE' if launcher == 'pytorch' else 'SLURM_NTASKS_PER_NODE'
    started = os.environ.get(name)
    if started is not None and int(started) != count:
        raise ValueError(f'--num-gpus and --gpu-ids ask for {count} processes, but the launcher {launcher} started '
                         f'{started}; leave the flags out, the launcher decides')
