"""The recipe of TAO's defaults: losses over every pixel, crops of 640, epochs.

TAO's option                                here
dataset.{train,val,test}.type               dataset.type: SemanticJsonlDataset (ade), CocoDataset (coco),
                                            CocoPanopticDataset (coco_panoptic)
dataset.train.panoptic_json, annot_file     train_dataloader.dataset.ann_file
dataset.train.img_dir, panoptic_dir         train_dataloader.dataset.data_prefix.img, .panoptic
dataset.train.root_dir                      train_dataloader.dataset.data_root
dataset.train.batch_size, num_workers       train_dataloader.batch_size, .num_workers
dataset.train.target_size                   the argument of SegmentationTrainTransform and SegmentationTestTransform
dataset.contiguous_id, label_map            dataset.label_mode ('contiguous' or 'category_id_from_1'), dataset.label_map
dataset.pixel_mean, pixel_std               model.data_preprocessor.mean, std (times 255)
dataset.augmentation.*                      the same names in SegmentationTrainTransform, SegmentationTestTransform
model.mode, object_mask_threshold, overlap_threshold
                                            the same names in model
model.test_topk_per_image                   model.topk_per_image
model.backbone.type                         model.backbone.type: SwinTransformer or EfficientViT
model.backbone.swin.type, efficientvit.name model.backbone.arch
model.backbone.swin.*, efficientvit.*       the same names in model.backbone
model.backbone.pretrained_weights           model.backbone.init_cfg.checkpoint
model.mask_former.num_object_queries        model.num_queries
model.mask_former.dec_layers                model.dec_layers (one less: TAO counts the predictions)
model.sem_seg_head.norm, num_classes        model.head_norm, model.num_classes
train.optim.type, lr, weight_decay, momentum
                                            optim_wrapper.optimizer
train.optim.backbone_multiplier             optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult
train.optim.lr_scheduler, milestones, gamma param_scheduler: MultiStepLR, StepLR, AutoReduce or PolyLR
train.optim.monitor_name                    AutoReduce(monitor='val_loss' or 'train_loss')
train.clip_grad_norm, clip_grad_type        optim_wrapper.clip_grad: max_norm (0 is off), type='full' or 'per_parameter'
train.precision                             optim_wrapper.type: OptimWrapper or AmpOptimWrapper
train.num_epochs, validation_interval, iters_per_epoch
                                            train_cfg
train.checkpoint_interval                   default_hooks.checkpoint.interval
train.activation_checkpoint, freeze         model.activation_checkpoint (and model.backbone.with_cp), model.freeze
export.*                                    export_cfg
"""
_base_ = [
    '../_base_/models/mask2former_swin-t.py', '../_base_/datasets/coco_panoptic.py', '../_base_/default_runtime.py'
]

model = dict(
    tao_compat=True,
    object_mask_threshold=0.4,
    overlap_threshold=0.5,
    topk_per_image=100,
    activation_checkpoint=True)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticAnnotations', with_seg=True),
    dict(type='SegmentationTrainTransform', train_min_size=640, train_max_size=2560, train_crop_size=(640, 640)),
    dict(type='PackDetInputs', dense_masks=True),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # TAO's default for test_max_size, 640, would bound the long side where the short one was meant
    dict(type='SegmentationTestTransform', test_min_size=640, test_max_size=2560),
    dict(type='LoadPanopticAnnotations'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(batch_sampler=None, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=1)
val_cfg = dict(type='ValLoop', val_loss=True)
test_cfg = dict(type='TestLoop')
# TAO's defaults, 10 epochs and milestones=[88, 96], never lower the rate
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[8], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05),
    clip_grad=dict(type='full', max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        embedding_decay_mult=0.,
        custom_keys={'backbone': dict(lr_mult=0.1, norm_decay_mult=0., embedding_decay_mult=0.)}))

# TAO goes on from the newest checkpoint in its folder whenever there is one
resume = 'auto'
randomness = dict(seed=1234)
# TAO's documented defaults; its sample spec has opset 17 and 1024 x 1024
export_cfg = dict(type='ExportLoop', opset_version=12, input_width=960, input_height=544, batch_size=-1, on_cpu=True)
