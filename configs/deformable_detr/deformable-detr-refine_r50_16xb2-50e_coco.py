"""With iterative box refinement: every decoder layer corrects the box of the one before."""
_base_ = './deformable-detr_r50_16xb2-50e_coco.py'
model = dict(with_box_refine=True)
