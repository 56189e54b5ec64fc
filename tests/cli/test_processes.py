"""--num-gpus and --gpu-ids."""

import argparse
import sys

import pytest

from maskforge.cli import processes
from maskforge.cli.arguments import add_processes, gpu_ids


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_processes(parser)
    return parser.parse_args(argv)


@pytest.fixture
def started(monkeypatch):
    """Calls of ``os.execve`` instead of a new program."""
    calls = []
    monkeypatch.setattr(processes.os, 'execve', lambda path, command, environment: calls.append((command, environment)))
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'CUDA_VISIBLE_DEVICES'):
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.mark.parametrize(
    ('argv', 'expected'),
    [
        (['--gpu-ids', '0', '1'], [0, 1]),
        (['--gpu-ids', '0,1'], [0, 1]),
        (['--gpu-ids', '[0,1]'], [0, 1]),
        ([], None),
    ],
)
def test_ids(argv, expected):
    assert gpu_ids(parse(*argv)) == expected


@pytest.mark.parametrize('argv', [['--num-gpus', '0'], ['--num-gpus', 'x'], ['--gpu-ids', 'a']])
def test_bad_numbers(argv):
    with pytest.raises(SystemExit):
        parse(*argv)


@pytest.mark.parametrize(
    ('num_gpus', 'ids', 'expected'),
    [
        (None, [0, 1], 2),
        (1, [0, 1], 2),
        (4, [0, 1], 4),
        (3, None, 3),
        (None, None, 1),
    ],
)
def test_larger_count_wins(num_gpus, ids, expected):
    assert processes.process_count(num_gpus, ids) == expected


@pytest.mark.parametrize(
    ('visible', 'ids', 'count', 'expected'),
    [
        ('-1', None, 2, None),
        ('', [0, 1], 2, None),
        ('4,5,6', [0, 2], 2, '4,6'),
        ('4,5,6', [2], 2, '6,4'),
        ('0', None, 1, '0'),
    ],
)
def test_visible_devices(monkeypatch, visible, ids, count, expected):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    assert processes.visible_devices(ids, count) == expected


def test_too_many(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,1')
    with pytest.raises(ValueError, match=r'3 processes .* shows 2 GPUs'):
        processes.visible_devices(None, 3)
    with pytest.raises(ValueError, match='shows 2 GPUs'):
        processes.visible_devices([5], 1)
    with pytest.raises(ValueError, match='names a GPU twice'):
        processes.process_count(None, [1, 1])


def test_starts_torchrun(monkeypatch, started):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    monkeypatch.setenv('PORT', '29777')
    argv = ['cfg.py', '--num-gpus', '2']
    processes.start_processes(parse('--num-gpus', '2'), 'train', argv)
    ((command, environment),) = started
    assert command == [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--nnodes=1',
        '--node_rank=0',
        '--nproc_per_node=2',
        '--master_addr=127.0.0.1',
        '--master_port=29777',
        '-m',
        'maskforge.cli.main',
        'train',
        *argv,
        '--launcher',
        'pytorch',
    ]
    assert environment['CUDA_VISIBLE_DEVICES'] == '-1'


def test_one_process_stays_here(monkeypatch, started):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5')
    processes.start_processes(parse('--gpu-ids', '1'), 'train', ['cfg.py'])
    assert started == [] and processes.os.environ['CUDA_VISIBLE_DEVICES'] == '5'


def test_under_a_launcher(monkeypatch, started):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    processes.start_processes(parse('--num-gpus', '2', '--launcher', 'pytorch'), 'train', [])
    assert started == []
    with pytest.raises(ValueError, match='ask for 3 processes, but the launcher pytorch started 2'):
        processes.start_processes(parse('--num-gpus', '3', '--launcher', 'pytorch'), 'train', [])
