"""Only the mask decoder learns: image encoder, prompt encoder and memory stay those of the release."""
_base_ = './sam2.1_hiera-b+_mose-finetune.py'

model = dict(
    freeze_image_encoder=True,
    freeze=('sam_prompt_encoder', 'memory_attention', 'memory_encoder', 'mask_downsample', 'obj_ptr_proj',
            'obj_ptr_tpos_proj', 'maskmem_tpos_enc', 'no_mem_embed', 'no_mem_pos_enc', 'no_obj_ptr',
            'no_obj_embed_spatial'))
