"""SAM 2.1 Large on MOSE. The official file is for B+; its recipe, with the layer decay of the paper's Large."""
_base_ = './sam2.1_hiera-b+_mose-finetune.py'
model = dict(network=dict(arch='large'))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=dict(rate=0.925)))
load_from = 'https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_large.pt'
