"""The recipe of TAO's sample spec for MAL, with its way of computing; weights of TAO 6 load into it.

TAO's option          here
dataset.*_ann_path    *_dataloader.dataset.ann_file
dataset.*_img_dir     *_dataloader.dataset.data_prefix.img
dataset.crop_size     *_dataloader.dataset.crop_size
dataset.load_mask     val_dataloader.dataset.load_mask
train.lr, wd          optim_wrapper.optimizer.lr, weight_decay
train.min_lr_rate     param_scheduler.1.eta_min_ratio
train.warmup_epochs   param_scheduler.0.end, param_scheduler.1.begin
train.use_amp         optim_wrapper.type: AmpOptimWrapper or OptimWrapper
evaluate.use_*_test   model.use_*_test
inference.*           the same names, see label_cfg
"""
_base_ = './mal_vit-mae-b16_8xb4-10e_coco.py'
# for weights of TAO 5, which have another stem: compat='reference'
model = dict(compat='tao6')
train_dataloader = dict(dataset=dict(resample='pil_bicubic'))
val_dataloader = dict(dataset=dict(resample='pil_bicubic'))
test_dataloader = dict(dataset=dict(resample='pil_bicubic'))
randomness = dict(seed=1234)
