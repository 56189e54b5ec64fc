"""Fine-tuning of SAM 2: bf16, AdamW in one kernel, clipping at 0.1; rates and epochs are the recipe's."""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=5e-6, weight_decay=0.1, betas=(0.9, 0.999), fused=True),
    clip_grad=dict(max_norm=0.1),
    constructor='PatternOptimWrapperConstructor',
    paramwise_cfg=dict(
        rules=dict(
            lr=[dict(value=3e-6, param_names=['image_encoder.*'])],
            # of the norms only torch's own: those over the channels of maps decay, as in the official run
            weight_decay=[dict(value=0.0, param_names=['*bias*'], module_cls_names=['torch.nn.LayerNorm'])]),
        layer_decay=dict(rate=0.9, part='image_encoder.trunk', overrides={'*pos_embed*': 1.0})))
# every group falls along a cosine to a tenth of its rate
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min_ratio=0.1, begin=0, end=40, by_epoch=True, convert_to_iter_based=True)]
# 8 GPUs x 1 clip
auto_scale_lr = dict(enable=False, base_batch_size=8)
