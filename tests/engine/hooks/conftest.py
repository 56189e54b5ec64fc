"""A runner of a few lines: what hooks see of the real one."""
import itertools
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from maskforge.checkpoints import save_checkpoint
from maskforge.engine.optim import OptimWrapper

# message hubs outlive their runner, and the `id` of a collected runner is given out again
NUMBERS = itertools.count()


class ToyRunner:
    """Counts like the loops do and calls hooks by name."""

    def __init__(self, work_dir, hooks, *, epochs=4, length=3, seed=0):
        torch.manual_seed(seed)
        self.work_dir, self.hooks, self.timestamp = str(work_dir), list(hooks), 'now'
        self.model = nn.Linear(2, 1)
        self.optim_wrapper = OptimWrapper(torch.optim.SGD(self.model.parameters(), lr=0.1))
        self.param_schedulers = []
        self.message_hub = MessageHub.get_instance(f'toy_{next(NUMBERS)}')
        self.logger = logging.getLogger('toy_runner')
        self.max_epochs, self.length, self.max_iters = epochs, length, epochs * length
        self.train_dataloader = range(length)
        self.train_loop = SimpleNamespace(stop_training=False)
        self._train_loop, self.val_loop = self.train_loop, SimpleNamespace()
        self.iter = self.epoch = 0
        self._resume, self._load_from = False, None
        self.metrics = iter(())
        self.writes = []

    def call_hook(self, name, **kwargs):
        for hook in self.hooks:
            if hasattr(hook, name):
                getattr(hook, name)(self, **kwargs)

    def save_checkpoint(self, out_dir, filename, save_optimizer=True, save_param_scheduler=True, meta=None,
                        by_epoch=True, write=save_checkpoint):
        checkpoint = dict(meta=dict(meta), state_dict={k: v.clone() for k, v in self.model.state_dict().items()},
                          message_hub=dict(self.message_hub.runtime_info))
        if save_optimizer:
            checkpoint['optimizer'] = self.optim_wrapper.state_dict()
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        self.writes.append(filename)
        write(checkpoint, Path(out_dir) / filename)

    def train(self, outputs=None, validate=True):
        self.call_hook('before_train')
        while self.epoch < self.max_epochs and not self.train_loop.stop_training:
            for batch_idx in range(self.length):
                batch = dict(data_samples=[])
                self.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=batch)
                self.call_hook('after_train_iter', batch_idx=batch_idx, data_batch=batch,
                               outputs=outputs(self.iter) if outputs else dict(loss=torch.tensor(1.0)))
                self.iter += 1
            self.call_hook('after_train_epoch')
            self.epoch += 1
            metrics = next(self.metrics, None) if validate else None
            if metrics is not None:
                self.call_hook('after_val_epoch', metrics=metrics)
                self.call_hook('after_val')
        self.call_hook('after_train')


@pytest.fixture
def make_runner(tmp_path):
    def make(*hooks, folder='run', **options):
        return ToyRunner(tmp_path / folder, hooks, **options)
    return make
