"""Arguments of classes, through ``**kwargs``."""
import pytest
import torch
from mmengine.optim import MultiStepLR

from maskforge.config.signatures import signature_of


class Closed:
    def __init__(self, a, b=1):
        pass


class Forwarding(Closed):
    def __init__(self, c, **kwargs):
        super().__init__(c, **kwargs)


class Empty:
    pass


def function(results, *, scale, seed=0):
    pass


@pytest.mark.parametrize(('target', 'names', 'required', 'is_open'), [
    (Closed, {'a', 'b'}, {'a'}, False),
    (Forwarding, {'c'}, {'c'}, True),  # a user's own class may take any key out of kwargs
    (Empty, set(), set(), False),
    (function, {'results', 'scale', 'seed'}, {'results', 'scale'}, False),
])
def test_signature(target, names, required, is_open):
    signature = signature_of(target)
    assert (signature.names, signature.required, signature.is_open) == (names, required, is_open)


def test_known_packages_are_followed():
    assert 'milestones' in signature_of(MultiStepLR).names
    assert not signature_of(torch.optim.SGD).is_open
