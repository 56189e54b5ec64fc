import pytest
import torch

from maskforge.engine.structure_check import check_structure

OWN = dict(iter=3, lr=0.1, betas=(0.9, 0.99), weights=torch.zeros(2), name='a', group=dict(step=1), unknown=None)


@pytest.mark.parametrize('stored', [
    OWN, {}, dict(iter=9.0), dict(weights=torch.ones(5), unknown=[1]), dict(betas=[0.5, 0.5]), dict(name=None),
    dict(betas=(1, 2, 3)), dict(more={})])
def test_what_fits(stored):
    check_structure(stored, OWN, where='f.pth: optimizer')


@pytest.mark.parametrize(('stored', 'message'), [
    (dict(iter='3'), r"^f.pth: optimizer.iter is '3', but a number belongs there. The file is damaged"),
    (dict(lr={}), r'optimizer.lr is \{\}, but a number'), (dict(lr=None), 'optimizer.lr is None'),
    (dict(betas=(0.9, 'b')), "optimizer.betas.1 is 'b', but a number"), (dict(weights=1), 'weights is 1, but a tensor'),
    (dict(group=[1]), r'group is \[1\], but a dict'), (dict(group=dict(step=None)), 'group.step is None'),
    (5, 'optimizer is 5, but a dict'), (dict(name=['x' * 90]), 'name is a list, but a text')])
def test_what_does_not(stored, message):
    with pytest.raises(ValueError, match=message):
        check_structure(stored, OWN, where='f.pth: optimizer')


def test_missing_names():
    with pytest.raises(ValueError, match=r"f.pth: random_state.0 has no 'torch'.*earlier checkpoint"):
        check_structure([dict(numpy=1)], [dict(numpy=1, torch=2)], where='f.pth: random_state', optional=False)
