"""Detectron2's files: plain pickles with arrays."""
import os
import pickle

import numpy as np
import pytest
import torch

from maskforge.checkpoints import load_checkpoint, load_weights
from maskforge.checkpoints.checkpoint_file import UnsafeCheckpointError

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_arrays_become_tensors(tmp_path, protocol, order):
    content = {'model': {'weight': np.array(WEIGHT, order=order), 'bias': np.float32([1, 2]), 'n': np.float64(3)},
               '__author__': 'Detectron2', 'matching_heuristics': True}
    loaded = load_checkpoint(write(tmp_path / 'a.pkl', content, protocol))
    assert torch.equal(loaded['model']['weight'], torch.from_numpy(WEIGHT)) and loaded['__author__'] == 'Detectron2'
    assert load_checkpoint(tmp_path / 'a.pkl', 'meta')['model']['weight'].device.type == 'meta'
    layer = torch.nn.Linear(3, 2)
    assert load_weights(layer, tmp_path / 'a.pkl').matched == ['weight', 'bias']
    assert torch.equal(layer.weight, torch.from_numpy(WEIGHT))
    layer.weight.data += 1  # can be written to


@pytest.mark.parametrize('protocol', [2, 4])
def test_tensors_that_were_pickled_as_they_were(tmp_path, protocol):
    weights = {'weight': torch.from_numpy(WEIGHT), 'scale': torch.nn.Parameter(torch.ones(2, dtype=torch.float16))}
    loaded = load_checkpoint(write(tmp_path / 'a.pkl', dict(model=weights), protocol))['model']
    assert torch.equal(loaded['weight'], weights['weight']) and torch.equal(loaded['scale'], weights['scale'])
    assert not loaded['scale'].requires_grad


@pytest.mark.parametrize('old', [False, True])
def test_files_of_torch_with_this_suffix(tmp_path, old):
    torch.save(dict(weight=torch.ones(2)), tmp_path / 'a.pkl', _use_new_zipfile_serialization=not old)
    assert torch.equal(load_checkpoint(tmp_path / 'a.pkl')['weight'], torch.ones(2))


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('evil, name', [
    (Evil(os.system, 'exit 1'), r'posix\.system'), (Evil(eval, '1'), r'builtins\.eval'),
    (Evil(torch.load, 'x'), r'torch\.serialization\.load')])
def test_code_is_refused(tmp_path, protocol, evil, name):
    write(tmp_path / 'a.pkl', {'model': {'weight': WEIGHT, 'more': evil}}, protocol)
    with pytest.raises(UnsafeCheckpointError, match=rf'contains {name}, and reading that could run code'):
        load_checkpoint(tmp_path / 'a.pkl')


def test_code_in_the_bytes_of_a_tensor_is_refused(tmp_path):
    torch.save(Evil(os.system, f'touch {tmp_path / "ran"}'), tmp_path / 'inner')
    inner = Evil(torch.storage._load_from_bytes, (tmp_path / 'inner').read_bytes())
    write(tmp_path / 'a.pkl', {'model': inner})
    with pytest.raises(ValueError, match='torn or no pickle of weights'):
        load_checkpoint(tmp_path / 'a.pkl')
    assert not (tmp_path / 'ran').exists()


def test_a_torn_file(tmp_path):
    whole = write(tmp_path / 'a.pkl', {'weight': WEIGHT}).read_bytes()
    (tmp_path / 'a.pkl').write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r'a\.pkl is torn or no pickle of weights'):
        load_checkpoint(tmp_path / 'a.pkl')
