"""Box refinement, and queries from the encoder's proposals."""
_base_ = './deformable-detr-refine_r50_16xb2-50e_coco.py'
model = dict(two_stage=True)
# proposals take the place of learnt reference points
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, custom_keys={
        'backbone': dict(lr_mult=0.1),
        'sampling_offsets': dict(lr_mult=0.1)}))
