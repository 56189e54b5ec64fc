"""One level of stride 32."""
_base_ = './deformable-detr_r50_16xb2-50e_coco.py'
model = dict(num_feature_levels=1, return_interm_indices=[3])
