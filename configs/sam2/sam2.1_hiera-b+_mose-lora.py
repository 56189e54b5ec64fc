"""Low-rank adaptation: attention of encoder and memory gets 0.6 M weights that learn, and so does the mask decoder."""
_base_ = './sam2.1_hiera-b+_mose-finetune.py'

model = dict(
    lora=dict(
        rank=8,
        alpha=16,
        dropout=0.05,
        targets=['image_encoder.trunk.blocks.*.attn.qkv', 'image_encoder.trunk.blocks.*.attn.proj',
                 'memory_attention.layers.*_proj'],
        # parameters that learn besides
        trainable=['sam_mask_decoder.*']))
# what starts at zero learns faster than the trained decoder, at every depth of the trunk alike
optim_wrapper = dict(
    paramwise_cfg=dict(rules=dict(lr=[dict(value=1e-4, param_names=['*lora_*'])]), layer_decay=None))
