"""Keys of MMDetection 2.x configs, moved to their places in today's grammar with one note each."""
from collections.abc import Callable
from typing import Any

from .finding import did_you_mean
from .lr_config import param_schedulers
from .options import merge_dicts, merge_options

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
Moves = list[tuple[str, str, Any]]  # (old dotted key, new dotted key, value)


def rename_old_keys(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return ``values`` in today's keys and a note per old key, such as ``evaluation.interval is now ...``.

    Raises:
        ValueError: an old key that has no equivalent; the message says what to do instead.
    """
    values, moves = dict(values), []
    if isinstance(values.get('model'), dict) and 'pretrained' in values['model'] and 'backbone' in values['model']:
        moves += _pretrained(values)
    for key in [key for key in _OLD if key in values]:
        moves += _OLD[key](values.pop(key), values)
    notes = []
    for old, new, value in moves:
        notes.append(f'{old} is now {new or "not needed, it is ignored"}')
        if new:
            _move(values, new, value)
    if 'CLASSES' in values:
        notes.append('CLASSES is now metainfo.classes of each dataset')
        _set_classes(values, values.pop('CLASSES'))
    return _rename_scope(values, notes), notes


def _move(values: dict, new: str, value: Any) -> None:
    """Set ``new``; dicts merge, except that another ``type`` replaces: its arguments would not fit."""
    parent, _, key = new.rpartition('.')
    if isinstance(values.get(parent), list):  # several evaluators: the first of the type that the old key was for
        new = f'{parent}.0.{key}'
        merge_options(values, {new: value})
        return
    here: Any = values
    for part in new.split('.'):
        here = here.get(part) if isinstance(here, dict) else None
    if isinstance(value, dict) and isinstance(here, dict) and value.get('type', here.get('type')) != here.get('type'):
        value = {**value, '_delete_': True}
    nested: Any = value
    for part in reversed(new.split('.')):
        nested = {part: nested}
    values.update(merge_dicts(values, nested))


def _rename_scope(values: dict, notes: list[str]) -> dict:
    if values.get('default_scope') == 'mmdet':
        notes.append("default_scope='mmdet' is now 'maskforge'")
        values['default_scope'] = 'maskforge'
    return values


def _table(name: str, table: dict[str, str | tuple[str, ...]]) -> Callable[[Any, dict], Moves]:
    """A mover for a dict whose sub-keys map one to one; an empty new name drops the key."""
    def move(old: Any, values: dict) -> Moves:
        if not isinstance(old, dict):
            raise ValueError(f'{name} is an old key and was a dict, got {old!r}')
        moves: Moves = []
        for key, value in old.items():
            if key == '_delete_':
                continue
            if key not in table:
                raise ValueError(f"{name}.{key} is an old key without an equivalent today; "
                                 f'known: {", ".join(table)}.{did_you_mean(key, table)}')
            targets = (table[key],) if isinstance(table[key], str) else table[key]
            moves += [(f'{name}.{key}', target, value) for target in targets]
        return moves
    return move


def _single(name: str, new: str) -> Callable[[Any, dict], Moves]:
    return lambda old, values: [(name, new, old)]


def _evaluation(old: dict, values: dict) -> Moves:
    moves = _table('evaluation', {
        'interval': 'train_cfg.val_interval', 'start': 'train_cfg.val_begin', 'by_epoch': '',
        'metric': 'val_evaluator.metric', 'classwise': 'val_evaluator.classwise', 'dynamic_intervals':
        'train_cfg.dynamic_intervals', 'save_best': 'default_hooks.checkpoint.save_best',
        'rule': 'default_hooks.checkpoint.rule'})(old, values)
    return [(key, new, _as_val_metric(value) if key == 'evaluation.save_best' else value) for key, new, value in moves]


def _as_val_metric(name: Any) -> Any:
    """2.x said ``bbox_mAP``, the evaluator says ``coco/bbox_mAP``."""
    return f'coco/{name}' if isinstance(name, str) and name.startswith(('bbox_', 'segm_')) else name


def _optimizer(old: dict, values: dict) -> Moves:
    rest = {key: value for key, value in old.items() if key != 'paramwise_cfg'}
    moves: Moves = [('optimizer.paramwise_cfg', 'optim_wrapper.paramwise_cfg', old['paramwise_cfg'])] \
        if 'paramwise_cfg' in old else []
    if set(rest) == {'lr'}:
        return [*moves, ('optimizer.lr', 'optim_wrapper.optimizer.lr', rest['lr'])]
    return [*moves, ('optimizer', 'optim_wrapper.optimizer', rest)] if rest else moves


def _optimizer_config(old: dict, values: dict) -> Moves:
    kind = old.get('type', 'OptimizerHook')
    if kind not in ('OptimizerHook', 'GradientCumulativeOptimizerHook', 'Fp16OptimizerHook'):
        raise ValueError(f"optimizer_config.type='{kind}' has no equivalent; set optim_wrapper.type instead")
    rest = {key: value for key, value in old.items() if key != 'type'}
    moves = _table('optimizer_config', {'grad_clip': 'optim_wrapper.clip_grad', '_delete_': '',
                                        'cumulative_iters': 'optim_wrapper.accumulative_counts',
                                        'loss_scale': 'optim_wrapper.loss_scale'})(rest, values)
    if kind == 'Fp16OptimizerHook':
        moves.insert(0, ('optimizer_config.type', 'optim_wrapper.type', 'AmpOptimWrapper'))
    return moves


def _fp16(old: Any, values: dict) -> Moves:
    scale = (old or {}).get('loss_scale', 512.) if isinstance(old, dict) else 512.
    return [('fp16', 'optim_wrapper.type', 'AmpOptimWrapper'), ('fp16.loss_scale', 'optim_wrapper.loss_scale', scale)]


def _runner(old: dict, values: dict) -> Moves:
    kind = old.get('type', 'EpochBasedRunner')
    if kind not in ('EpochBasedRunner', 'IterBasedRunner'):
        raise ValueError(f"runner.type='{kind}' has no equivalent; use EpochBasedRunner or IterBasedRunner, or set "
                         'train_cfg.type to a registered loop')
    rest = {key: value for key, value in old.items() if key != 'type'}
    moves = _table('runner', {'max_epochs': 'train_cfg.max_epochs', 'max_iters': 'train_cfg.max_iters'})(rest, values)
    return [move for key, new, value in moves for move in _length(key, new.endswith('epochs'), value, values)]


def _length(name: str, by_epoch: bool, value: int, values: dict) -> Moves:
    """Training length in epochs or iterations; a loop of the other kind is replaced, keeping what both know."""
    new = 'train_cfg.max_epochs' if by_epoch else 'train_cfg.max_iters'
    train = values.get('train_cfg')
    if train is None or ('max_iters' if by_epoch else 'max_epochs') in train:
        kind = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
        values['train_cfg'] = {'type': kind}
    return [(name, new, value)]


def _total_epochs(old: int, values: dict) -> Moves:
    return _length('total_epochs', True, old, values)


def _total_iters(old: int, values: dict) -> Moves:
    return _length('total_iters', False, old, values)


def _lr_config(old: dict, values: dict) -> Moves:
    train = values.get('train_cfg') or {}
    by_epoch = 'max_iters' not in train
    length = train.get('max_epochs' if by_epoch else 'max_iters')
    return [('lr_config', 'param_scheduler', param_schedulers(old, length=length, by_epoch=by_epoch))]


def _checkpoint(old: dict | None, values: dict) -> Moves:
    return [('checkpoint_config', 'default_hooks.checkpoint', {'type': 'CheckpointHook', **(old or {})})]


def _log_config(old: dict, values: dict) -> Moves:
    moves = _table('log_config', {'interval': 'default_hooks.logger.interval', 'hooks': ''})(
        {key: value for key, value in old.items() if key != 'hooks'}, values)
    backends = {'TensorboardLoggerHook': 'TensorboardVisBackend', 'WandbLoggerHook': 'WandbVisBackend',
                'MlflowLoggerHook': 'MLflowVisBackend'}
    wanted = [dict(type=backends[hook['type']]) for hook in old.get('hooks', ()) if hook['type'] in backends]
    if wanted:
        here = (values.get('visualizer') or {}).get('vis_backends', [dict(type='LocalVisBackend')])
        moves.append(('log_config.hooks', 'visualizer.vis_backends',
                      [*here, *(item for item in wanted if item not in here)]))
    return moves


def _workflow(old: Any, values: dict) -> Moves:
    names = [step[0] for step in old]
    if names != ['train']:
        raise ValueError(f'workflow={old!r} has no equivalent: the validation set is run by train_cfg.val_interval, '
                         'and validation losses come with the metrics; remove workflow from the config')
    return [('workflow', '', old)]


def _resume_from(old: str | None, values: dict) -> Moves:
    return [('resume_from', 'load_from', old), ('resume_from', 'resume', True)] if old else []


def _data(old: dict, values: dict) -> Moves:
    moves: Moves = []
    for key, value in old.items():
        if key == 'samples_per_gpu':
            moves.append(('data.samples_per_gpu', 'train_dataloader.batch_size', value))
        elif key == 'workers_per_gpu':
            moves += [('data.workers_per_gpu', f'{name}.num_workers', value) for name in LOADERS
                      if name == 'train_dataloader' or values.get(name) is not None]
        elif key in ('train', 'val', 'test'):
            moves.append((f'data.{key}', f'{key}_dataloader.dataset', _dataset(value)))
        elif key in LOADERS:
            new = {'samples_per_gpu': 'batch_size', 'workers_per_gpu': 'num_workers'}
            moves += [(f'data.{key}.{name}', f'{key}.{new.get(name, name)}', item) for name, item in value.items()]
        else:
            known = ('samples_per_gpu', 'workers_per_gpu', 'train', 'val', 'test')
            raise ValueError(f'data.{key} is an old key without an equivalent; known: {", ".join(known)}.'
                             f'{did_you_mean(key, known)}')
    return moves


def _dataset(old: Any) -> Any:
    """A 2.x dataset dict: prefixes and classes go into data_prefix and metainfo."""
    if not isinstance(old, dict):
        return old
    new = {key: _dataset(value) if key == 'dataset' else value for key, value in old.items()}
    if 'img_prefix' in old and 'ann_file' in old:
        new.setdefault('data_root', '')  # 2.x paths stand alone, a base's data_root must not be put before them
    for key, prefix in (('img_prefix', 'img'), ('seg_prefix', 'seg')):
        if key in new:
            new.setdefault('data_prefix', {})[prefix] = new.pop(key)
    if 'classes' in new:
        new['metainfo'] = {**new.get('metainfo', {}), 'classes': _as_tuple(new.pop('classes'))}
    return new


def _as_tuple(classes: Any) -> tuple:
    return (classes,) if isinstance(classes, str) else tuple(classes)


def _set_classes(values: dict, classes: Any) -> None:
    for name in LOADERS:
        loader = values.get(name)
        if not isinstance(loader, dict) or not isinstance(loader.get('dataset'), dict):
            continue
        key = f'{name}.dataset'
        node = loader['dataset']
        while isinstance(node.get('dataset'), dict):
            node, key = node['dataset'], f'{key}.dataset'
        merge_options(values, {f'{key}.metainfo.classes': _as_tuple(classes)})


def _pretrained(values: dict) -> Moves:
    """``model.pretrained`` of 2.x is the backbone's ``init_cfg``."""
    values['model'] = dict(values['model'])
    name = values['model'].pop('pretrained')
    init = dict(type='Pretrained', checkpoint=name) if name else None
    return [('model.pretrained', 'model.backbone.init_cfg', init)]


def _tao_train(old: Any, values: dict) -> Moves:
    """``train`` of TAO's spec files; a helper variable of this name stays."""
    if not isinstance(old, dict) or 'distributed_strategy' not in old:
        values['train'] = old
        return []
    return _table('train', {
        'distributed_strategy': 'strategy', 'seed': 'randomness.seed', 'freeze': 'freeze',
        'validation_interval': 'train_cfg.val_interval', 'checkpoint_interval': 'default_hooks.checkpoint.interval',
        'clip_grad_norm': 'optim_wrapper.clip_grad.max_norm'})(old, values)


# order matters: lengths before schedules, since a cosine schedule ends with the training
_OLD: dict[str, Callable[[Any, dict], Moves]] = {
    'total_epochs': _total_epochs, 'total_iters': _total_iters, 'runner': _runner,
    'evaluation': _evaluation, 'optimizer': _optimizer, 'optimizer_config': _optimizer_config, 'fp16': _fp16,
    'dist_params': _table('dist_params', {'backend': 'env_cfg.dist_cfg.backend', 'port': 'env_cfg.dist_cfg.port'}),
    'data': _data, 'checkpoint_config': _checkpoint, 'log_config': _log_config, 'workflow': _workflow,
    'resume_from': _resume_from, 'seed': _single('seed', 'randomness.seed'),
    'deterministic': _single('deterministic', 'randomness.deterministic'),
    'cudnn_benchmark': _single('cudnn_benchmark', 'env_cfg.cudnn_benchmark'),
    'opencv_num_threads': _single('opencv_num_threads', 'env_cfg.mp_cfg.opencv_num_threads'),
    'mp_start_method': _single('mp_start_method', 'env_cfg.mp_cfg.mp_start_method'),
    'lr_config': _lr_config,
    'train': _tao_train,
    # what TAO's spec files call the labelling job
    'inference': _table('inference', {
        'ann_path': 'label_cfg.ann_file', 'img_dir': 'label_cfg.img_dir', 'label_dump_path': 'label_cfg.out',
        'batch_size': 'label_cfg.batch_size', 'load_mask': 'label_cfg.load_mask', 'checkpoint': 'load_from'}),
}
OLD_KEYS = (*_OLD, 'CLASSES')
