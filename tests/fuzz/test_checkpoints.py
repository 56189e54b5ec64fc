"""Checkpoints that went bad: read, or refused with the file; a run is never continued from half of one."""
import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from fuzzing import fuzz, works_or_tells
from hypothesis import given
from hypothesis import strategies as st
from mutations import odd_node, spoiled_bytes

from maskforge.checkpoints import find_latest, load_checkpoint, save_checkpoint
from maskforge.engine import Runner

TOY = Path(__file__).parents[1] / 'engine' / 'runs' / 'conftest.py'


@pytest.fixture(scope='module')
def toy_config():
    """The engine tests' small config."""
    spec = importlib.util.spec_from_file_location('toy_of_the_engine', TOY)
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    return toy.toy_config


@pytest.fixture(scope='module')
def trained(toy_config, tmp_path_factory):
    """The last checkpoint of a toy run."""
    folder = tmp_path_factory.mktemp('toy')
    Runner.from_cfg(toy_config(folder, train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1))).train()
    return folder / 'epoch_2.pth'


@fuzz
@given(data=st.data())
def test_bytes(trained, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('torn')
    whole, path = trained.read_bytes(), folder / 'epoch_2.pth'
    path.write_bytes(data.draw(spoiled_bytes(whole)))
    (folder / 'epoch_1.pth').write_bytes(whole)
    works_or_tells(lambda: load_checkpoint(path), 'epoch_2.pth')
    found = find_latest(folder)
    assert found is not None and load_checkpoint(found), 'the one before is still there'


@fuzz
@given(data=st.data())
def test_safetensors(data, tmp_path_factory):
    from safetensors.torch import save
    path = tmp_path_factory.mktemp('torn') / 'weights.safetensors'
    path.write_bytes(data.draw(spoiled_bytes(save({'a.weight': torch.ones(2, 3), 'a.bias': torch.ones(3)}))))
    works_or_tells(lambda: load_checkpoint(path), 'weights.safetensors')


@fuzz
@given(data=st.data())
def test_content(trained, toy_config, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('odd')
    content = data.draw(odd_node(copy.deepcopy(load_checkpoint(trained))))
    save_checkpoint(content, folder / 'odd.pth')

    def resume():
        runner = Runner.from_cfg(toy_config(folder, resume=str(folder / 'odd.pth'),
                                            train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=5)))
        runner.train()

    works_or_tells(resume, 'odd.pth')
