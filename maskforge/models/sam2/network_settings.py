"""The settings of SAM 2's network: the official release's names and values."""
import difflib
from dataclasses import dataclass, fields
from typing import Any

#: what 2.1 has and 2.0 has not; nothing else differs between the two
OF_VERSION = ('no_obj_embed_spatial', 'add_tpos_enc_to_obj_ptrs', 'proj_tpos_enc_in_obj_ptrs',
              'use_signed_tpos_enc_to_obj_ptrs')
VERSIONS = ('2.0', '2.1')


@dataclass(frozen=True)
class NetworkSettings:
    """What the parts of the network are built and run by. Defaults are the official 2.1 files'.

    Memory:
        num_maskmem: spatial memories per frame, conditioning frames counted as one; at least 1.
        max_cond_frames_in_attn: conditioning frames that a frame looks at, the nearest first; -1 is all of them, else
            at least 2.
        memory_temporal_stride_for_eval: outside training, every how many frames a memory is looked at (the frame
            before is always).
        sigmoid_scale_for_mem_enc, sigmoid_bias_for_mem_enc: mask probabilities p enter memory as scale * p + bias.
        binarize_mask_from_pts_for_mem_enc: outside training, masks from points enter memory as 0 or 1.
        non_overlap_masks_for_mem_enc: outside training, memory encodes every pixel for its strongest object alone (the
            rows of one call must be objects of one image).
        directly_add_no_mem_embed: initial frames get a learnt vector in the place of memory attention; False sends
            them through it with one learnt token (needs memory_dim == hidden_dim).
        no_obj_embed_spatial: memories of absent objects get a learnt vector.
    Object pointers:
        use_obj_ptrs_in_encoder: memory attention sees pointers.
        max_obj_ptrs_in_encoder: pointers of so many frames (conditioning ones apart).
        add_tpos_enc_to_obj_ptrs: pointers know how far away in time their frames are; proj_tpos_enc_in_obj_ptrs:
            through a linear map (False: the sine code itself); use_signed_tpos_enc_to_obj_ptrs: and on which side.
        only_obj_ptrs_in_the_past_for_eval: outside training no pointers of later conditioning frames.
        fixed_no_obj_ptr: an absent object's pointer is the learnt one alone; soft_no_obj_ptr: mixed by the object
            score's probability instead of 0 or 1.
        use_mlp_for_obj_ptr_proj: three layers instead of one from mask token to pointer.
        use_multimask_token_for_obj_ptr: the chosen mask's token instead of the first one's.
    Mask decoder:
        use_high_res_features_in_sam: maps of strides 4 and 8 enter the decoder.
        iou_prediction_use_sigmoid: predicted IoUs are in 0 .. 1 by a sigmoid.
        pred_obj_scores: the decoder says whether the object is visible, and absent ones have empty masks;
            pred_obj_scores_mlp: by three layers instead of one.
        multimask_output_in_sam: several masks where the number of points is in multimask_min_pt_num ..
            multimask_max_pt_num; multimask_output_for_tracking: on other frames than initial ones too.
        use_mask_input_as_output_without_sam: a mask prompt is the output of its frame; False makes it a dense prompt.
        dynamic_multimask_via_stability: outside training, an unstable single mask gives way to the best of the
            several; dynamic_multimask_stability_delta, dynamic_multimask_stability_thresh: a mask's stability is the
            IoU of itself cut at +delta and -delta.
    Sizes (the official ones; tests use smaller):
        hidden_dim: C; memory_dim: D, divides C; memory_layers, memory_feedforward: of memory attention;
        decoder_heads, decoder_depth, decoder_mlp: of the mask decoder's transformer.
        fpn_top_down_levels: of the neck, 0 (stride 4) .. 3 (stride 32): those that are summed from the top down.
    Training:
        memory_dropout: of memory attention, everywhere.
        checkpoint_trunk, checkpoint_memory_attention: compute blocks or layers again in the backward pass instead of
            keeping their activations.
        compile_image_encoder: compile it at its first run, for one input size.

    Raises:
        ValueError: settings that contradict each other or are out of range.
    """

    num_maskmem: int = 7
    max_cond_frames_in_attn: int = -1
    memory_temporal_stride_for_eval: int = 1
    sigmoid_scale_for_mem_enc: float | int = 20.
    sigmoid_bias_for_mem_enc: float | int = -10.
    binarize_mask_from_pts_for_mem_enc: bool = False
    non_overlap_masks_for_mem_enc: bool = False
    directly_add_no_mem_embed: bool = True
    no_obj_embed_spatial: bool = True
    use_obj_ptrs_in_encoder: bool = True
    max_obj_ptrs_in_encoder: int = 16
    add_tpos_enc_to_obj_ptrs: bool = True
    proj_tpos_enc_in_obj_ptrs: bool = True
    use_signed_tpos_enc_to_obj_ptrs: bool = True
    only_obj_ptrs_in_the_past_for_eval: bool = True
    fixed_no_obj_ptr: bool = True
    soft_no_obj_ptr: bool = False
    use_mlp_for_obj_ptr_proj: bool = True
    use_multimask_token_for_obj_ptr: bool = True
    use_high_res_features_in_sam: bool = True
    iou_prediction_use_sigmoid: bool = True
    pred_obj_scores: bool = True
    pred_obj_scores_mlp: bool = True
    multimask_output_in_sam: bool = True
    multimask_min_pt_num: int = 0
    multimask_max_pt_num: int = 1
    multimask_output_for_tracking: bool = True
    use_mask_input_as_output_without_sam: bool = True
    dynamic_multimask_via_stability: bool = False
    dynamic_multimask_stability_delta: float | int = 0.05
    dynamic_multimask_stability_thresh: float | int = 0.98
    hidden_dim: int = 256
    memory_dim: int = 64
    memory_layers: int = 4
    memory_feedforward: int = 2048
    decoder_heads: int = 8
    decoder_depth: int = 2
    decoder_mlp: int = 2048
    fpn_top_down_levels: tuple[int, ...] | list[int] = (2, 3)
    memory_dropout: float | int = 0.1
    checkpoint_trunk: bool = False
    checkpoint_memory_attention: bool = False
    compile_image_encoder: bool = False

    def __post_init__(self) -> None:
        for wrong, message in _contradictions(self):
            if wrong:
                raise ValueError(f'SAM2Network: {message}')


def network_settings(version: str, **changes: Any) -> NetworkSettings:
    """Return the settings of ``version`` ('2.0' or '2.1') with changes.

    Raises:
        ValueError: an unknown version; settings that do not go together.
        TypeError: an unknown setting; near names are listed.
    """
    if version not in VERSIONS:
        raise ValueError(f"SAM2Network: version must be one of {', '.join(map(repr, VERSIONS))}, got {version!r}.")
    known = [field.name for field in fields(NetworkSettings)]
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            raise TypeError(f"SAM2Network has no setting '{name}'; "
                            f'{"near names: " + ", ".join(near) if near else "it has " + ", ".join(known)}.')
    return NetworkSettings(**{**dict.fromkeys(OF_VERSION, version == '2.1'), **changes})


def _contradictions(own: NetworkSettings) -> list[tuple[bool, str]]:
    """Whether something is wrong, and what."""
    return [
        (own.num_maskmem < 1, f'num_maskmem must be at least 1, got {own.num_maskmem}. For single images nothing needs '
                              'to be set: they have no memory.'),
        (own.max_cond_frames_in_attn != -1 and own.max_cond_frames_in_attn < 2,
         f'max_cond_frames_in_attn must be -1 (all) or at least 2, got {own.max_cond_frames_in_attn}.'),
        (own.memory_temporal_stride_for_eval < 1,
         f'memory_temporal_stride_for_eval must be at least 1, got {own.memory_temporal_stride_for_eval}.'),
        (own.max_obj_ptrs_in_encoder < 1,
         f'max_obj_ptrs_in_encoder must be at least 1, got {own.max_obj_ptrs_in_encoder}; '
         'use_obj_ptrs_in_encoder=False turns pointers off.'),
        (own.hidden_dim % 8 != 0 or own.hidden_dim < 8, f'hidden_dim must be a multiple of 8, got {own.hidden_dim}.'),
        (own.hidden_dim % (2 * own.decoder_heads) != 0,
         f'decoder_heads={own.decoder_heads} must divide half of hidden_dim={own.hidden_dim}.'),
        (own.memory_dim < 4 or own.memory_dim % 4 != 0 or own.hidden_dim % own.memory_dim != 0,
         f'memory_dim must be a multiple of 4 that divides hidden_dim={own.hidden_dim}, got {own.memory_dim}.'),
        (not own.directly_add_no_mem_embed and own.memory_dim != own.hidden_dim,
         'directly_add_no_mem_embed=False puts a token of hidden_dim channels among the memories, so memory_dim must '
         f'equal hidden_dim; got {own.memory_dim} and {own.hidden_dim}.'),
        (own.add_tpos_enc_to_obj_ptrs and not own.use_obj_ptrs_in_encoder,
         'add_tpos_enc_to_obj_ptrs needs use_obj_ptrs_in_encoder=True; without pointers set it to False.'),
        (own.proj_tpos_enc_in_obj_ptrs and not own.add_tpos_enc_to_obj_ptrs,
         'proj_tpos_enc_in_obj_ptrs needs add_tpos_enc_to_obj_ptrs=True; set it to False as well.'),
        (own.use_signed_tpos_enc_to_obj_ptrs and not own.add_tpos_enc_to_obj_ptrs,
         'use_signed_tpos_enc_to_obj_ptrs needs add_tpos_enc_to_obj_ptrs=True; set it to False as well.'),
        (own.fixed_no_obj_ptr and not (own.pred_obj_scores and own.use_obj_ptrs_in_encoder),
         'fixed_no_obj_ptr needs pred_obj_scores=True and use_obj_ptrs_in_encoder=True; set it to False as well.'),
        (own.soft_no_obj_ptr and not (own.pred_obj_scores and own.use_obj_ptrs_in_encoder),
         'soft_no_obj_ptr needs pred_obj_scores=True and use_obj_ptrs_in_encoder=True.'),
        (own.pred_obj_scores_mlp and not own.pred_obj_scores,
         'pred_obj_scores_mlp needs pred_obj_scores=True; set it to False as well.'),
        (own.no_obj_embed_spatial and not own.pred_obj_scores,
         'no_obj_embed_spatial needs pred_obj_scores=True; set it to False as well.'),
        (not 0 <= own.multimask_min_pt_num <= own.multimask_max_pt_num,
         f'multimask_min_pt_num={own.multimask_min_pt_num} and multimask_max_pt_num={own.multimask_max_pt_num} are no '
         'range of point numbers.'),
        (not 0 <= own.memory_dropout < 1, f'memory_dropout must be in [0, 1), got {own.memory_dropout}.'),
        (not set(own.fpn_top_down_levels) <= {0, 1, 2, 3},
         f'fpn_top_down_levels must be among 0 (stride 4) .. 3 (stride 32), got {list(own.fpn_top_down_levels)}.'),
    ]
