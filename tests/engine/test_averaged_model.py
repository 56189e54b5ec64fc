import mmengine.model as theirs
import pytest
import torch
from torch import nn

from maskforge.engine import averaged_model


@pytest.mark.parametrize(('name', 'options'), [
    ('ExponentialMovingAverage', dict(momentum=0.3)), ('ExponentialMovingAverage', dict(momentum=0.02, interval=2)),
    ('ExponentialMovingAverage', dict(momentum=0.1, update_buffers=True)),
    ('MomentumAnnealingEMA', dict(momentum=0.002, gamma=3)), ('MomentumAnnealingEMA', dict(momentum=0.2, gamma=1))])
def test_numbers_are_mmengines(name, options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(4, 4, dtype=torch.float64))
    ours, reference = (getattr(module, name)(model, **options) for module in (averaged_model, theirs))
    for _ in range(5):
        model[:2](torch.randn(2, 2, 3, 3))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        for average in (ours, reference):
            average.update_parameters(model)
        found, wanted = ours.state_dict(), reference.state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
