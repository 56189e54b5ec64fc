"""One level of stride 16: the last stage of the backbone dilated instead of strided (DC5)."""
_base_ = './deformable-detr_r50_16xb2-50e_coco.py'
model = dict(
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    num_feature_levels=1,
    return_interm_indices=[3])
