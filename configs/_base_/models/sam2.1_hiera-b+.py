"""SAM 2.1 with Hiera B+, its simulated prompts and its loss, as in the official fine-tuning."""
model = dict(
    type='SAM2',
    data_preprocessor=dict(
        type='ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    network=dict(arch='base_plus', image_size=1024, version='2.1', drop_path_rate=0.1),
    prompts=dict(
        # half of the clips begin with masks, a quarter with boxes, a quarter with clicks
        prob_to_use_pt_input_for_train=0.5,
        prob_to_use_pt_input_for_eval=0.0,
        prob_to_use_box_input_for_train=0.5,
        prob_to_use_box_input_for_eval=0.0,
        prob_to_sample_from_gt_for_train=0.1,
        num_init_cond_frames_for_train=2,
        rand_init_cond_frames_for_train=True,
        num_frames_to_correct_for_train=2,
        rand_frames_to_correct_for_train=True,
        add_all_frames_to_correct_as_cond=True,
        num_correction_pt_per_frame=7,
        pt_sampling_for_eval='center'),
    loss=dict(
        loss_mask=20.0,
        loss_dice=1.0,
        loss_iou=1.0,
        loss_class=1.0,
        supervise_all_iou=True,
        iou_use_l1_loss=True,
        focal_alpha=0.25,
        focal_gamma=2.0,
        focal_gamma_obj_score=0.0,
        focal_alpha_obj_score=-1.0),
    freeze_image_encoder=False)
