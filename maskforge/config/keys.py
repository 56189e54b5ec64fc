"""Names that the framework itself reads from a config."""

FRAMEWORK_KEYS = frozenset({
    # what to run
    'model', 'data_preprocessor', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg',
    'test_cfg', 'val_evaluator', 'test_evaluator', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'export_cfg',
    'label_cfg', 'tta_model', 'tta_pipeline', 'default_hooks', 'custom_hooks', 'custom_imports',
    # how to run
    'default_scope', 'runner_type', 'work_dir', 'load_from', 'resume', 'launcher', 'env_cfg', 'randomness',
    'experiment_name', 'log_level', 'log_processor', 'visualizer', 'strategy', 'model_wrapper_cfg', 'sync_bn',
    'find_unused_parameters', 'compile', 'activation_checkpointing', 'efficient_conv_bn_eval',
    'freeze', 'load_min_matched', 'load_skip', 'encryption_key',
})

# dicts without a type: every key they may hold
PLAIN_DICTS: dict[str, frozenset[str]] = {
    'env_cfg': frozenset({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit', 'watchdog'}),
    'env_cfg.watchdog': frozenset({'timeout', 'long_timeout', 'lost_after'}),
    'env_cfg.mp_cfg': frozenset({'mp_start_method', 'opencv_num_threads'}),
    'env_cfg.dist_cfg': frozenset({'backend', 'port', 'timeout', 'init_method', 'init_backend', 'device_id'}),
    'randomness': frozenset({'seed', 'deterministic', 'diff_rank_seed'}),
    'auto_scale_lr': frozenset({'enable', 'base_batch_size'}),
    'custom_imports': frozenset({'imports', 'allow_failed_imports'}),
    'label_cfg': frozenset({'ann_file', 'img_dir', 'images_json', 'out', 'batch_size', 'num_workers', 'chunk_size',
                            'clip_to_box', 'load_mask', 'min_score', 'review'}),
}

DEFAULT_HOOKS = {
    'timer': 'IterTimerHook', 'logger': 'LoggerHook', 'param_scheduler': 'ParamSchedulerHook',
    'checkpoint': 'CheckpointHook', 'sampler_seed': 'DistSamplerSeedHook', 'runtime_info': 'RuntimeInfoHook',
    'visualization': 'DetVisualizationHook',
}

# those that the runner registers by itself; None leaves one out
BUILTIN_HOOKS = frozenset(DEFAULT_HOOKS) - {'visualization'}

# written by Config.pretty_text, so that a merged config that is loaded again knows its helper variables
VARIABLES_COMMENT = '# variables that the original files used:'
