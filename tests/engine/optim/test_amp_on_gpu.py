"""Mixed precision and the NaN guard on a CUDA device."""
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maskforge.engine.hooks import NaNGuardHook
from maskforge.engine.optim import AmpOptimWrapper

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')]


@pytest.mark.parametrize(('dtype', 'scaled'), [(None, True), ('float16', True), ('bfloat16', False)])
def test_training_step(dtype, scaled):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = nn.Linear(4, 1).cuda()
        wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype=dtype,
                                  clip_grad=dict(max_norm=1.0))
        before = model.weight.detach().clone()
        with wrapper.optim_context(model):
            loss = model(torch.ones(2, 4, device='cuda')).float().square().mean()
        wrapper.update_params(loss)
    assert wrapper.loss_scaler.is_enabled() == scaled
    assert not torch.equal(before, model.weight)


def test_guard_reads_one_iteration_late(tmp_path):
    guard = NaNGuardHook()
    runner = SimpleNamespace(iter=0, epoch=0, work_dir=tmp_path)
    guard.after_train_iter(runner, 0, {}, dict(loss_cls=torch.tensor(float('nan'), device='cuda')))
    runner.iter = 1
    with pytest.raises(FloatingPointError, match='loss_cls is nan at iteration 1'):
        guard.after_train_iter(runner, 1, {}, dict(loss_cls=torch.tensor(1.0, device='cuda')))
