"""A thin Mask2Former that learns from nothing on two CPU cores: half a ResNet-18, 128 channels.

Without a backbone that was trained before, classes are learnt much later than masks: their loss weighs more here, the
matching costs are the published ones.
"""
model = dict(
    type='Mask2Former',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_size_divisor=32, pad_mask=True),
    backbone=dict(type='ResNet', depth=18, base_channels=32, norm_eval=False, zero_init_residual=False),
    num_queries=20,
    hidden_dim=128,
    mask_dim=128,
    nheads=4,
    enc_layers=1,
    enc_feedforward=256,
    dec_layers=3,
    dim_feedforward=256,
    num_points=512,
    class_weight=6.0,
    set_cost_class=2.0)
