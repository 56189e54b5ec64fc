"""FSDP2 on two CPU processes: the teacher is the one of an unsharded model."""
import subprocess
import sys

import pytest
from commands import environment

SCRIPT = '''
import sys
import torch
from mmengine.registry import init_default_scope
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from maskforge.registry import MODELS

torch.set_num_threads(1)
init_default_scope('maskforge')
distributed.init_process_group('gloo', init_method=f'file://{sys.argv[2]}/rendezvous', rank=int(sys.argv[1]),
                               world_size=2)


def build():
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='MAL', arch='vit-deit-tiny/16', backbone=dict(embed_dim=32, depth=2, num_heads=4, img_size=64),
        mask_head_hidden_channel=16, mask_head_out_channel=8, teacher_momentum=0.9))


def train(model, steps=3):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        student = model.student(images, [500.0, 5000.0])
        with torch.no_grad():
            teacher = model.teacher(images, [500.0, 5000.0])
        (student - teacher + 1).square().mean().backward()
        optimizer.step()
        model.update_teacher()
    return model.state_dict()


plain, sharded = build(), build()
mesh = init_device_mesh('cpu', (2,))
for network in (sharded.student, sharded.teacher):
    for block in network.backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
expected, found = train(plain), train(sharded)
start = build().state_dict()
for name, value in expected.items():
    torch.testing.assert_close(found[name].full_tensor(), value, atol=1e-5, rtol=1e-4)
moved = [not torch.equal(value, start[name]) for name, value in expected.items() if name.startswith('teacher.')]
print('RESULT', all(moved), flush=True)
distributed.barrier()
distributed.destroy_process_group()
'''


@pytest.mark.slow
def test_sharded_teacher(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)
    processes = [subprocess.Popen([sys.executable, script, str(rank), tmp_path], env=environment(), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for rank in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert all('RESULT True' in output for output in outputs), outputs
