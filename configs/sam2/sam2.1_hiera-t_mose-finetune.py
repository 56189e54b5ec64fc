"""SAM 2.1 Tiny on MOSE. The official file is for B+; its recipe, with the layer decay of the paper's Tiny."""
_base_ = './sam2.1_hiera-b+_mose-finetune.py'
model = dict(network=dict(arch='tiny'))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=dict(rate=0.8)))
load_from = 'https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt'
