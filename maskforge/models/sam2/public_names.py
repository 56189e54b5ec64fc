"""Names of SAM 2's tensors elsewhere, by rules: (pattern of the whole name, template)."""
from maskforge.checkpoints.name_rules import Rule

ENDING = r'\.(weight|bias)'

#: the official release -> ours: the trunk is timm's, whose blocks call their two linear maps otherwise
OFFICIAL_RULES: list[Rule] = [
    (rf'(image_encoder\.trunk\.blocks\.\d+\.mlp)\.layers\.0{ENDING}', '{0}.fc1.{1}'),
    (rf'(image_encoder\.trunk\.blocks\.\d+\.mlp)\.layers\.1{ENDING}', '{0}.fc2.{1}'),
]


def _layers(theirs: str, official: str) -> list[Rule]:
    """Three linear maps: transformers has names of their own for the first and the last."""
    return [(rf'{theirs}\.proj_in{ENDING}', f'{official}.layers.0.{{-1}}'),
            (rf'{theirs}\.layers\.0{ENDING}', f'{official}.layers.1.{{-1}}'),
            (rf'{theirs}\.proj_out{ENDING}', f'{official}.layers.2.{{-1}}')]


def _numbered(rules: list[Rule]) -> list[Rule]:
    """``{-1}`` stands for the last group."""
    return [(pattern, template.replace('{-1}', f'{{{pattern.count("(") - 1}}}')) for pattern, template in rules]


TRUNK, DECODER = r'vision_encoder\.backbone', r'mask_decoder\.transformer'

#: transformers 5 -> the official release; what has several tensors for one, or one for several, is in weights.py
HF_RULES: list[Rule] = _numbered([
    ('no_memory_embedding', 'no_mem_embed'),
    ('no_memory_positional_encoding', 'no_mem_pos_enc'),
    ('memory_temporal_positional_encoding', 'maskmem_tpos_enc'),
    ('no_object_pointer', 'no_obj_ptr'),
    ('occlusion_spatial_embedding_parameter', 'no_obj_embed_spatial'),
    (rf'temporal_positional_encoding_projection_layer{ENDING}', 'obj_ptr_tpos_proj.{0}'),
    (rf'{TRUNK}\.(pos_embed|pos_embed_window)', 'image_encoder.trunk.{0}'),
    (rf'{TRUNK}\.patch_embed\.projection{ENDING}', 'image_encoder.trunk.patch_embed.proj.{0}'),
    (rf'{TRUNK}\.blocks\.(\d+)\.layer_norm(\d){ENDING}', 'image_encoder.trunk.blocks.{0}.norm{1}.{2}'),
    (rf'{TRUNK}\.blocks\.(\d+)\.mlp\.proj_in{ENDING}', 'image_encoder.trunk.blocks.{0}.mlp.layers.0.{1}'),
    (rf'{TRUNK}\.blocks\.(\d+)\.mlp\.proj_out{ENDING}', 'image_encoder.trunk.blocks.{0}.mlp.layers.1.{1}'),
    (rf'{TRUNK}\.blocks\.(\d+)\.(attn\.qkv|attn\.proj|proj){ENDING}', 'image_encoder.trunk.blocks.{0}.{1}.{2}'),
    (rf'vision_encoder\.neck\.convs\.(\d){ENDING}', 'image_encoder.neck.convs.{0}.conv.{1}'),
    *((rf'prompt_encoder\.mask_embed\.{theirs}{ENDING}', f'sam_prompt_encoder.mask_downscaling.{number}.{{0}}')
      for theirs, number in (('conv1', 0), ('layer_norm1', 1), ('conv2', 3), ('layer_norm2', 4), ('conv3', 6))),
    (r'prompt_encoder\.(no_mask_embed|not_a_point_embed)\.weight', 'sam_prompt_encoder.{0}.weight'),
    *((rf'mask_decoder\.{theirs}{ENDING}', f'sam_mask_decoder.output_upscaling.{number}.{{0}}')
      for theirs, number in (('upscale_conv1', 0), ('upscale_layer_norm', 1), ('upscale_conv2', 3))),
    *_layers(r'mask_decoder\.output_hypernetworks_mlps\.(\d)', 'sam_mask_decoder.output_hypernetworks_mlps.{0}'),
    *_layers(r'mask_decoder\.(iou_prediction_head|pred_obj_score_head)', 'sam_mask_decoder.{0}'),
    *_layers('object_pointer_proj', 'obj_ptr_proj'),
    (rf'{DECODER}\.layer_norm_final_attn{ENDING}', 'sam_mask_decoder.transformer.norm_final_attn.{0}'),
    (rf'{DECODER}\.(final_attn_token_to_image)\.o_proj{ENDING}', 'sam_mask_decoder.transformer.{0}.out_proj.{1}'),
    (rf'{DECODER}\.(layers\.\d+)\.layer_norm(\d){ENDING}', 'sam_mask_decoder.transformer.{0}.norm{1}.{2}'),
    (rf'{DECODER}\.(layers\.\d+)\.mlp\.proj_in{ENDING}', 'sam_mask_decoder.transformer.{0}.mlp.layers.0.{1}'),
    (rf'{DECODER}\.(layers\.\d+)\.mlp\.proj_out{ENDING}', 'sam_mask_decoder.transformer.{0}.mlp.layers.1.{1}'),
    (rf'{DECODER}\.(layers\.\d+\.[a-z_]+)\.o_proj{ENDING}', 'sam_mask_decoder.transformer.{0}.out_proj.{1}'),
    (r'mask_decoder\.(transformer\..+|[a-z_]+_tokens?\..+|conv_s\d\..+)', 'sam_mask_decoder.{0}'),
    (rf'memory_attention\.layer_norm{ENDING}', 'memory_attention.norm.{0}'),
    (rf'memory_attention\.(layers\.\d+)\.layer_norm(\d){ENDING}', 'memory_attention.{0}.norm{1}.{2}'),
    (rf'memory_attention\.(layers\.\d+\.[a-z_]+)\.o_proj{ENDING}', 'memory_attention.{0}.out_proj.{1}'),
    *((rf'memory_encoder\.mask_downsampler\.layers\.{layer}\.{theirs}{ENDING}',
       f'memory_encoder.mask_downsampler.encoder.{3 * layer + shift}.{{0}}')
      for layer in range(4) for theirs, shift in (('conv', 0), ('layer_norm', 1))),
    (rf'memory_encoder\.mask_downsampler\.final_conv{ENDING}', 'memory_encoder.mask_downsampler.encoder.12.{0}'),
    (rf'memory_encoder\.feature_projection{ENDING}', 'memory_encoder.pix_feat_proj.{0}'),
    (rf'memory_encoder\.projection{ENDING}', 'memory_encoder.out_proj.{0}'),
    (r'memory_encoder\.memory_fuser\.layers\.(\d)\.scale', 'memory_encoder.fuser.layers.{0}.gamma'),
    *((rf'memory_encoder\.memory_fuser\.layers\.(\d)\.{theirs}{ENDING}',
       f'memory_encoder.fuser.layers.{{0}}.{name}.{{1}}')
      for theirs, name in (('depthwise_conv', 'dwconv'), ('layer_norm', 'norm'), ('pointwise_conv1', 'pwconv1'),
                           ('pointwise_conv2', 'pwconv2'))),
])
