"""How the official names of Mask2Former's tensors relate to ours, and other libraries' to the official ones.

Backbones are not in these rules.
"""
from maskforge.checkpoints.name_rules import Rule, rename

PIXEL, PREDICTOR = r'sem_seg_head\.pixel_decoder\.', r'sem_seg_head\.predictor\.'
LAYER = 'decoder.layers.{0}.'
# nothing, or a part's own parts
TAIL = r'(|\..+)'

# the official name, ours; parts of names for freezing fit as well
RULES: list[Rule] = [
    (rf'{PIXEL}transformer\.(level_embed|encoder){TAIL}', 'pixel_decoder.{0}{1}'),
    *[rule for theirs, own in (('adapter_1', 'lateral'), ('layer_1', 'output')) for rule in (
        (rf'{PIXEL}{theirs}\.norm{TAIL}', f'pixel_decoder.{own}.norm{{0}}'),
        (rf'{PIXEL}{theirs}\.(weight|bias)', f'pixel_decoder.{own}.conv.{{0}}'),
        (rf'{PIXEL}{theirs}', f'pixel_decoder.{own}'))],
    (rf'sem_seg_head\.pixel_decoder{TAIL}', 'pixel_decoder{0}'),
    (rf'{PREDICTOR}transformer_cross_attention_layers\.(\d+)\.multihead_attn{TAIL}', f'{LAYER}cross_attn{{1}}'),
    (rf'{PREDICTOR}transformer_cross_attention_layers\.(\d+)\.norm{TAIL}', f'{LAYER}norm_cross{{1}}'),
    (rf'{PREDICTOR}transformer_self_attention_layers\.(\d+)\.self_attn{TAIL}', f'{LAYER}self_attn{{1}}'),
    (rf'{PREDICTOR}transformer_self_attention_layers\.(\d+)\.norm{TAIL}', f'{LAYER}norm_self{{1}}'),
    (rf'{PREDICTOR}transformer_ffn_layers\.(\d+)\.norm{TAIL}', f'{LAYER}norm_ffn{{1}}'),
    (rf'{PREDICTOR}transformer_ffn_layers\.(\d+)\.(linear\d){TAIL}', f'{LAYER}{{1}}{{2}}'),
    (rf'{PREDICTOR}decoder_norm{TAIL}', 'decoder.norm{0}'),
    (rf'sem_seg_head\.predictor{TAIL}', 'decoder{0}'),
]
# files of the first version of the official head, the official name
OLD_RULES: list[Rule] = [
    (rf'{PREDICTOR}static_query\.(.+)', 'sem_seg_head.predictor.query_feat.{0}'),
    (r'sem_seg_head\.((?!predictor\.|pixel_decoder\.).+)', 'sem_seg_head.pixel_decoder.{0}'),
]

OFFICIAL_PIXEL, OFFICIAL_PREDICTOR = 'sem_seg_head.pixel_decoder.', 'sem_seg_head.predictor.'
OFFICIAL_ENCODER = f'{OFFICIAL_PIXEL}transformer.encoder.layers.{{0}}.'
CROSS = f'{OFFICIAL_PREDICTOR}transformer_cross_attention_layers.{{0}}.'
SELF = f'{OFFICIAL_PREDICTOR}transformer_self_attention_layers.{{0}}.'
FFN = f'{OFFICIAL_PREDICTOR}transformer_ffn_layers.{{0}}.'

# Hugging Face's name, the official one. The parts of self-attention's input projection are joined separately.
HF_PIXEL, HF_PREDICTOR = r'model\.pixel_level_module\.decoder\.', r'model\.transformer_module\.'
HF_ENCODER, HF_LAYER = rf'{HF_PIXEL}encoder\.layers\.(\d+)\.', rf'{HF_PREDICTOR}decoder\.layers\.(\d+)\.'
HF_RULES: list[Rule] = [
    (rf'{HF_PIXEL}input_projections\.(.+)', f'{OFFICIAL_PIXEL}input_proj.{{0}}'),
    (rf'{HF_PIXEL}level_embed', f'{OFFICIAL_PIXEL}transformer.level_embed'),
    (rf'{HF_PIXEL}mask_projection\.(.+)', f'{OFFICIAL_PIXEL}mask_features.{{0}}'),
    *[rule for name in ('adapter_1', 'layer_1') for rule in (
        (rf'{HF_PIXEL}{name}\.1\.(.+)', f'{OFFICIAL_PIXEL}{name}.norm.{{0}}'),
        (rf'{HF_PIXEL}{name}\.0\.(.+)', f'{OFFICIAL_PIXEL}{name}.{{0}}'))],
    (rf'{HF_ENCODER}self_attn_layer_norm\.(.+)', f'{OFFICIAL_ENCODER}norm1.{{1}}'),
    (rf'{HF_ENCODER}final_layer_norm\.(.+)', f'{OFFICIAL_ENCODER}norm2.{{1}}'),
    (rf'{HF_ENCODER}fc(\d)\.(.+)', f'{OFFICIAL_ENCODER}linear{{1}}.{{2}}'),
    (rf'{HF_ENCODER}self_attn\.(.+)', f'{OFFICIAL_ENCODER}self_attn.{{1}}'),
    (rf'{HF_LAYER}cross_attn_layer_norm\.(.+)', f'{CROSS}norm.{{1}}'),
    (rf'{HF_LAYER}cross_attn\.(.+)', f'{CROSS}multihead_attn.{{1}}'),
    (rf'{HF_LAYER}self_attn_layer_norm\.(.+)', f'{SELF}norm.{{1}}'),
    (rf'{HF_LAYER}self_attn\.(.+)', f'{SELF}self_attn.{{1}}'),
    (rf'{HF_LAYER}final_layer_norm\.(.+)', f'{FFN}norm.{{1}}'),
    (rf'{HF_LAYER}fc(\d)\.(.+)', f'{FFN}linear{{1}}.{{2}}'),
    (rf'{HF_PREDICTOR}decoder\.layernorm\.(.+)', f'{OFFICIAL_PREDICTOR}decoder_norm.{{0}}'),
    (rf'{HF_PREDICTOR}decoder\.mask_predictor\.mask_embedder\.(\d+)\.0\.(.+)',
     f'{OFFICIAL_PREDICTOR}mask_embed.layers.{{0}}.{{1}}'),
    (rf'{HF_PREDICTOR}queries_features\.(.+)', f'{OFFICIAL_PREDICTOR}query_feat.{{0}}'),
    (rf'{HF_PREDICTOR}queries_embedder\.(.+)', f'{OFFICIAL_PREDICTOR}query_embed.{{0}}'),
    (rf'{HF_PREDICTOR}level_embed\.(.+)', f'{OFFICIAL_PREDICTOR}level_embed.{{0}}'),
    (r'class_predictor\.(.+)', f'{OFFICIAL_PREDICTOR}class_embed.{{0}}'),
]

# MMDetection 3's name, the official one
MMDET_PIXEL = r'panoptic_head\.pixel_decoder\.'
MMDET_ENCODER = rf'{MMDET_PIXEL}encoder\.layers\.(\d+)\.'
MMDET_LAYER = r'panoptic_head\.transformer_decoder\.layers\.(\d+)\.'
MMDET_RULES: list[Rule] = [
    (rf'{MMDET_PIXEL}input_convs\.(\d+)\.conv\.(.+)', f'{OFFICIAL_PIXEL}input_proj.{{0}}.0.{{1}}'),
    (rf'{MMDET_PIXEL}input_convs\.(\d+)\.gn\.(.+)', f'{OFFICIAL_PIXEL}input_proj.{{0}}.1.{{1}}'),
    (rf'{MMDET_PIXEL}level_encoding\.weight', f'{OFFICIAL_PIXEL}transformer.level_embed'),
    (rf'{MMDET_PIXEL}mask_feature\.(.+)', f'{OFFICIAL_PIXEL}mask_features.{{0}}'),
    *[rule for theirs, name in (('lateral_convs', 'adapter_1'), ('output_convs', 'layer_1')) for rule in (
        (rf'{MMDET_PIXEL}{theirs}\.0\.gn\.(.+)', f'{OFFICIAL_PIXEL}{name}.norm.{{0}}'),
        (rf'{MMDET_PIXEL}{theirs}\.0\.conv\.(.+)', f'{OFFICIAL_PIXEL}{name}.{{0}}'))],
    (rf'{MMDET_ENCODER}norms\.0\.(.+)', f'{OFFICIAL_ENCODER}norm1.{{1}}'),
    (rf'{MMDET_ENCODER}norms\.1\.(.+)', f'{OFFICIAL_ENCODER}norm2.{{1}}'),
    (rf'{MMDET_ENCODER}ffn\.layers\.0\.0\.(.+)', f'{OFFICIAL_ENCODER}linear1.{{1}}'),
    (rf'{MMDET_ENCODER}ffn\.layers\.1\.(.+)', f'{OFFICIAL_ENCODER}linear2.{{1}}'),
    (rf'{MMDET_ENCODER}self_attn\.(.+)', f'{OFFICIAL_ENCODER}self_attn.{{1}}'),
    (rf'{MMDET_LAYER}cross_attn\.attn\.(.+)', f'{CROSS}multihead_attn.{{1}}'),
    (rf'{MMDET_LAYER}norms\.0\.(.+)', f'{CROSS}norm.{{1}}'),
    (rf'{MMDET_LAYER}self_attn\.attn\.(.+)', f'{SELF}self_attn.{{1}}'),
    (rf'{MMDET_LAYER}norms\.1\.(.+)', f'{SELF}norm.{{1}}'),
    (rf'{MMDET_LAYER}norms\.2\.(.+)', f'{FFN}norm.{{1}}'),
    (rf'{MMDET_LAYER}ffn\.layers\.0\.0\.(.+)', f'{FFN}linear1.{{1}}'),
    (rf'{MMDET_LAYER}ffn\.layers\.1\.(.+)', f'{FFN}linear2.{{1}}'),
    (r'panoptic_head\.transformer_decoder\.post_norm\.(.+)', f'{OFFICIAL_PREDICTOR}decoder_norm.{{0}}'),
    *[(rf'panoptic_head\.{name}\.(.+)', f'{OFFICIAL_PREDICTOR}{name}.{{0}}')
      for name in ('query_feat', 'query_embed', 'level_embed')],
    (r'panoptic_head\.cls_embed\.(.+)', f'{OFFICIAL_PREDICTOR}class_embed.{{0}}'),
    *[(rf'panoptic_head\.mask_embed\.{2 * i}\.(.+)', f'{OFFICIAL_PREDICTOR}mask_embed.layers.{i}.{{0}}')
      for i in range(3)],
]
# MMDetection 2, MMDetection 3
MMDET2_RULES: list[Rule] = [
    (rf'{MMDET_ENCODER}attentions\.0\.(.+)', 'panoptic_head.pixel_decoder.encoder.layers.{0}.self_attn.{1}'),
    (rf'{MMDET_ENCODER}ffns\.0\.(.+)', 'panoptic_head.pixel_decoder.encoder.layers.{0}.ffn.{1}'),
    *[(rf'{MMDET_LAYER}{old}\.(.+)', f'panoptic_head.transformer_decoder.layers.{{0}}.{new}.{{1}}')
      for old, new in (('attentions.0', 'cross_attn'), ('attentions.1', 'self_attn'), ('ffns.0', 'ffn'))],
]


def own_name(name: str) -> str:
    """Return our name of a part of the head that is named as in the official release."""
    return rename(name, RULES)
