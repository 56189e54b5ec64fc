"""The recipe of TAO's sample spec: category ids as labels, fixed padding, annotations shared by the workers.

TAO's option                                here
dataset.train_data_sources                  train_dataloader.dataset.data_sources
dataset.val_data_sources                    val_dataloader.dataset.data_sources
dataset.num_classes                         model.num_classes (largest category id + 1)
dataset.dataset_type                        *_dataloader.dataset.dataset_type
dataset.train_sampler                       train_dataloader.sampler.type
dataset.augmentation.*                      the same names in DETRTrainTransform and DETRTestTransform
dataset.augmentation.input_mean, input_std  model.data_preprocessor.mean, std (times 255)
model.*                                     the same names in model
model.pretrained_backbone_path              model.backbone.init_cfg.checkpoint
train.optim.lr, weight_decay, momentum      optim_wrapper.optimizer
train.optim.lr_backbone                     optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult (0.1 of lr)
train.optim.lr_linear_proj_mult             the lr_mult of sampling_offsets and reference_points
train.optim.lr_scheduler, lr_steps          param_scheduler: MultiStepLR, StepLR or AutoReduce
train.optim.lr_monitor                      AutoReduce(monitor='val_loss' or 'train_loss')
train.clip_grad_norm                        optim_wrapper.clip_grad.max_norm; clip_grad=None for 0
train.precision                             optim_wrapper.type: OptimWrapper or AmpOptimWrapper
train.num_epochs, validation_interval       train_cfg
train.checkpoint_interval                   default_hooks.checkpoint.interval
train.activation_checkpoint, freeze         model.activation_checkpoint, model.freeze
evaluate.conf_threshold                     test_cfg.conf_threshold
export.*                                    export_cfg
"""
_base_ = './deformable-detr-refine_r50_16xb2-50e_coco.py'

data_root = 'data/coco/'
num_classes = 91

model = dict(
    num_classes=num_classes,
    dropout_ratio=0.3,
    activation_checkpoint=True,
    num_select=100)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='DETRTrainTransform', fixed_padding=True, keep_crowds=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='DETRTestTransform', fixed_padding=True),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'min_batch_shape')),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    sampler=dict(_delete_=True, type='default_sampler', shuffle=True),
    dataset=dict(
        _delete_=True,
        type='CocoSourcesDataset',
        data_sources=[
            dict(image_dir=data_root + 'train2017', json_file=data_root + 'annotations/instances_train2017.json')],
        dataset_type='serialized',
        label_mode='category_id',
        num_classes=num_classes,
        min_box_side=0,
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4,
    num_workers=8,
    dataset=dict(
        _delete_=True,
        type='CocoSourcesDataset',
        data_sources=[
            dict(image_dir=data_root + 'val2017', json_file=data_root + 'annotations/instances_val2017.json')],
        dataset_type='serialized',
        label_mode='category_id',
        num_classes=num_classes,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=10)
# TAO's defaults, 10 epochs and lr_steps=[40], never lower the rate
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[8], gamma=0.1)]
# TAO goes on from the newest checkpoint in its folder whenever there is one
resume = 'auto'
randomness = dict(seed=1234)
# TAO's defaults: 960 x 544, any number of images, operators that onnxruntime knows
export_cfg = dict(type='ExportLoop', opset_version=12, input_width=960, input_height=544, batch_size=-1, on_cpu=True)
