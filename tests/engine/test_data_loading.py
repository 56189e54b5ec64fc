import pytest
import torch

from maskforge.engine.data_loading import build_dataloader


@pytest.mark.parametrize(('gpu', 'settings', 'expected'), [
    (True, dict(num_workers=1), True), (True, dict(num_workers=1, pin_memory=False), False),
    (True, dict(num_workers=0), False), (False, dict(num_workers=1), False)])
def test_batches_are_pinned_where_there_is_a_gpu(gpu, settings, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')  # MMEngine's loggers ask
    dataset = dict(type='SyntheticShapesDataset', num_images=2, size=32, pipeline=[])
    loader = build_dataloader(dict(dataset=dataset, batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False),
                                   **settings), seed=0)
    assert loader.pin_memory == expected
