"""An ``eps`` that the exporter would drop."""
import pytest
from torch import nn

from maskforge.export.small_constants import SMALLEST_KEPT, kept_small_constants


def module(eps):
    part = nn.Identity()
    part.eps = eps
    return nn.Sequential(part)


@pytest.mark.parametrize(('eps', 'inside'), [(1e-15, SMALLEST_KEPT), (1e-9, SMALLEST_KEPT), (1e-7, 1e-7), (0., 0.),
                                             (None, None)])
def test_small_constants_are_kept(eps, inside):
    model = module(eps)
    with pytest.raises(RuntimeError, match='exporter'), kept_small_constants(model):
        assert model[0].eps == inside
        raise RuntimeError('exporter')
    assert model[0].eps == eps
