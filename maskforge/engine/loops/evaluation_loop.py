"""What validation and test share: predictions, metrics over all processes."""
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object, broadcast, gather_object, get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from maskforge.engine.background_calls import BackgroundCalls
from maskforge.engine.model_preparation import unwrapped
from maskforge.engine.random_state import private_randomness
from maskforge.registry import DATA_SAMPLERS


class EvaluationLoop(BaseLoop):
    """Base of :class:`ValLoop` and :class:`TestLoop`.

    The metrics are the same for any number of processes: batches are dealt whole and without padding, every process
    has rank 0's buffers (running means of BatchNorm), results are put in the data set's order before they are
    evaluated. Randomness of training is left as it was.

    With ``background_metrics`` the metrics' ``process`` works on a batch in a thread while the next ones are predicted
    (at most two wait for it, in order), so it must not use collectives, and hooks must not change ``data_batch`` and
    ``outputs``. The results are the same. ``evaluate`` runs in the main thread, after the last batch.

    Args:
        runner: the runner.
        dataloader: loader or its config.
        evaluator: evaluator, or configs of metrics.
        fp16: predict in half precision (float16 on GPUs, bfloat16 on CPUs).
        conf_threshold: predicted instances with a lower score are dropped before metrics and hooks see them; images
            that are left without any still count.
        background_metrics: process batches in a thread; None does so for a model on a GPU, which otherwise idles.

    Raises:
        ValueError: a threshold outside [0, 1].
    """

    stage: str

    def __init__(self, runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list, *,
                 fp16: bool = False, conf_threshold: float | int = 0.,
                 background_metrics: bool | None = None) -> None:
        if not 0 <= conf_threshold <= 1:
            raise ValueError(f'{self.stage}_cfg.conf_threshold={conf_threshold} must lie in 0 .. 1.')
        super().__init__(runner, runner.build_dataloader(dataloader, seed=runner.seed, evaluation=True))
        self.evaluator = runner.build_evaluator(evaluator)
        self.fp16, self.conf_threshold, self.background_metrics = fp16, conf_threshold, background_metrics
        self._hand_over = BackgroundCalls(self._process)
        metainfo = runner.adopt_dataset(self.dataloader, f'{self.stage}_dataloader')
        if metainfo is not None:
            self.evaluator.dataset_meta = metainfo
        self._batch_counts: list[int] = []

    def run(self) -> dict[str, Any]:
        """Evaluate once; returns all metrics by name."""
        runner, stage = self.runner, self.stage
        runner.adopt_dataset(self.dataloader, f'{stage}_dataloader')
        runner.call_hook(f'before_{stage}')
        runner.call_hook(f'before_{stage}_epoch')
        with private_randomness(runner.seed):
            metrics = self._evaluate()
        if metrics is None:
            self._put_back()
            runner.leave_if_interrupted()
        runner.call_hook(f'after_{stage}_epoch', metrics=metrics)
        runner.call_hook(f'after_{stage}')
        return metrics

    def _evaluate(self) -> dict[str, Any] | None:
        """The metrics; None if a process was asked to stop."""
        runner = self.runner
        runner.model.eval()
        self._share_buffers()
        self._batch_counts.clear()
        background = self._hand_over if self._in_background() else nullcontext()
        with runner.strategy.evaluation(unwrapped(runner.model)), background:
            for idx, data_batch in enumerate(self.dataloader):
                if runner.interruption.requested:
                    break
                self.run_iter(idx, data_batch)
        if runner.interruption.agree():
            for metric in self.evaluator.metrics:
                metric.results.clear()
            return None
        self._order_results()
        return self.evaluator.evaluate(len(self.dataloader.dataset))

    def _put_back(self) -> None:
        """Let hooks that prepared the model for evaluation (moving averages) undo it, without any metrics."""
        for hook in self.runner.hooks:
            if {f'before_{self.stage}_epoch', f'after_{self.stage}_epoch'} <= set(hook.get_triggered_stages()):
                getattr(hook, f'after_{self.stage}_epoch')(self.runner, metrics=None)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Predict one batch and hand it to the metrics."""
        runner, stage = self.runner, self.stage
        runner.call_hook(f'before_{stage}_iter', batch_idx=idx, data_batch=data_batch)
        with self.precision():
            step = runner.model.val_step if stage == 'val' else runner.model.test_step
            outputs = [self._above(sample) for sample in step(data_batch)]
        self._batch_counts.append(len(outputs))
        self._hand_over(data_samples=outputs, data_batch=data_batch)
        runner.call_hook(f'after_{stage}_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    @torch.no_grad()  # a setting of each thread
    def _process(self, data_samples: list, data_batch: Any) -> None:
        self.evaluator.process(data_samples=data_samples, data_batch=data_batch)

    def _in_background(self) -> bool:
        if self.background_metrics is not None:
            return self.background_metrics
        parameter = next(unwrapped(self.runner.model).parameters(), None)
        return parameter is not None and parameter.is_cuda

    def _above(self, sample: Any) -> Any:
        """The sample without instances and panoptic segments below the threshold."""
        if self.conf_threshold <= 0:
            return sample
        instances, panoptic = sample.get('pred_instances'), sample.get('pred_panoptic')
        if instances is not None:
            sample.pred_instances = instances[instances.scores >= self.conf_threshold]
        if panoptic is not None and panoptic.scores is not None:
            sample.pred_panoptic = panoptic.select(panoptic.scores >= self.conf_threshold)
        return sample

    def precision(self) -> AbstractContextManager:
        """The context of half precision, if that is on."""
        if not self.fp16:
            return nullcontext()
        kind = torch.device(get_device()).type
        return torch.autocast(kind, dtype=torch.bfloat16 if kind == 'cpu' else torch.float16)

    def _share_buffers(self) -> None:
        """Every process evaluates what rank 0 will save."""
        if get_world_size() > 1:
            for buffer in unwrapped(self.runner.model).buffers():
                broadcast(buffer, 0)

    def _order_results(self) -> None:
        """Collect on rank 0, in the data set's order, the results of metrics that keep one entry per sample."""
        if get_world_size() == 1:
            return
        dealt = isinstance(self.dataloader.batch_sampler, DATA_SAMPLERS.get('WholeBatchSampler'))
        for number, metric in enumerate(self.evaluator.metrics):
            if getattr(metric, 'collect_device', None) == 'cpu' and metric.collect_dir is None:
                # MMEngine would write into .dist_test of the folder from which the program was started
                metric.collect_dir = f'{self.runner.log_dir}/results_{self.stage}_{number}'
            results = getattr(metric, 'results', None)
            parts = self._by_batch(results) if dealt and isinstance(results, list) else None
            if not all(all_gather_object(parts is not None)):
                continue  # a metric that keeps something else than one result per sample
            everyone = gather_object(parts)
            results.clear()
            if is_main_process():
                turns = range(max(map(len, everyone)))
                results += [entry for turn in turns for part in everyone if turn < len(part) for entry in part[turn]]

    def _by_batch(self, results: list) -> list[list] | None:
        if len(results) != sum(self._batch_counts):
            return None
        parts, first = [], 0
        for count in self._batch_counts:
            parts.append(results[first:first + count])
            first += count
        return parts
