"""The launchers train and test on gloo, with ``sh`` and ``bash``, on one and on two nodes."""
import subprocess

import pytest
from commands import ROOT, TOY, environment, metrics, run, tool

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(('shell', 'port'), [('bash', '29511'), ('sh', '29512')])
def test_dist_train_on_two_processes(shell, port, tmp_path):
    run(shell, 'tools/dist_train.sh', TOY, '2', '--work-dir', tmp_path, PORT=port)
    assert (tmp_path / 'epoch_2.pth').exists()
    assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_2.pth'


def test_two_nodes_on_one_machine(tmp_path):
    command = ['sh', 'tools/dist_train.sh', str(TOY), '1', '--work-dir', str(tmp_path)]
    nodes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment(NNODES='2', NODE_RANK=str(rank), PORT='29513')) for rank in (0, 1)]
    outputs = [node.communicate(timeout=600)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], '\n'.join(text[-2000:] for text in outputs)
    assert (tmp_path / 'epoch_2.pth').exists()


@pytest.mark.parametrize('processes', [2, 3])
def test_gathered_metrics_equal_those_of_one_process(processes, trained, tmp_path):
    checkpoint = trained / 'epoch_2.pth'
    tool('test.py', TOY, checkpoint, '--work-dir', tmp_path / 'one')
    run('sh', 'tools/dist_test.sh', TOY, checkpoint, str(processes), '--work-dir', tmp_path / 'many',
        PORT=str(29514 + processes))
    one, many = metrics(tmp_path / 'one'), metrics(tmp_path / 'many')
    assert {key: value for key, value in one.items() if 'time' not in key} == \
           {key: value for key, value in many.items() if 'time' not in key}
    assert 'coco/segm_mAP' in one
