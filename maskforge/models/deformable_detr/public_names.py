"""How the official names of Deformable DETR's tensors relate to ours, and other libraries' to the official ones."""
from maskforge.checkpoints.name_rules import Rule, rename

DECODER, LAYER = r'transformer\.decoder\.layers\.(\d+)\.', 'decoder.layers.{0}.'

# the official name, ours; parts of names for freezing fit as well
RULES: list[Rule] = [
    (r'backbone\.0\.body\.(.+)', 'backbone.{0}'),
    (r'input_proj(.*)', 'levels.projections{0}'),
    (r'transformer\.level_embed', 'levels.level_embed'),
    (r'transformer\.reference_points(.*)', 'reference_points{0}'),
    (r'transformer\.encoder(.*)', 'encoder{0}'),
    (rf'{DECODER}norm2(.*)', f'{LAYER}self_attn_norm{{1}}'),
    (rf'{DECODER}norm1(.*)', f'{LAYER}cross_attn_norm{{1}}'),
    (rf'{DECODER}norm3(.*)', f'{LAYER}ffn_norm{{1}}'),
    (r'transformer\.decoder(.*)', 'decoder{0}'),
    (r'class_embed(.*)', 'heads.cls{0}'),
    (r'bbox_embed(.*)', 'heads.box{0}'),
    (r'transformer\.enc_output_norm(.*)', 'proposals.output_norm{0}'),
    (r'transformer\.enc_output(.*)', 'proposals.output{0}'),
    (r'transformer\.pos_trans_norm(.*)', 'proposals.position_norm{0}'),
    (r'transformer\.pos_trans(.*)', 'proposals.position{0}'),
]

# Hugging Face's name, the official one. The parts of self-attention's input projection are joined separately.
HF_DECODER, OFFICIAL_LAYER = r'model\.decoder\.layers\.(\d+)\.', 'transformer.decoder.layers.{0}.'
HF_ENCODER, OFFICIAL_ENCODER = r'model\.encoder\.layers\.(\d+)\.', 'transformer.encoder.layers.{0}.'
HF_RULES: list[Rule] = [
    (r'model\.backbone\.model\.(.+)', 'backbone.0.body.{0}'),
    (r'model\.input_proj\.(.+)', 'input_proj.{0}'),
    (r'model\.query_position_embeddings\.(.+)', 'query_embed.{0}'),
    (r'model\.level_embed', 'transformer.level_embed'),
    *[(rf'model\.{name}\.(.+)', f'transformer.{name}.{{0}}')
      for name in ('reference_points', 'enc_output', 'enc_output_norm', 'pos_trans', 'pos_trans_norm')],
    (rf'{HF_ENCODER}self_attn_layer_norm\.(.+)', f'{OFFICIAL_ENCODER}norm1.{{1}}'),
    (rf'{HF_ENCODER}final_layer_norm\.(.+)', f'{OFFICIAL_ENCODER}norm2.{{1}}'),
    (rf'{HF_ENCODER}mlp\.fc1\.(.+)', f'{OFFICIAL_ENCODER}linear1.{{1}}'),
    (rf'{HF_ENCODER}mlp\.fc2\.(.+)', f'{OFFICIAL_ENCODER}linear2.{{1}}'),
    (rf'{HF_ENCODER}self_attn\.(.+)', f'{OFFICIAL_ENCODER}self_attn.{{1}}'),
    (rf'{HF_DECODER}self_attn_layer_norm\.(.+)', f'{OFFICIAL_LAYER}norm2.{{1}}'),
    (rf'{HF_DECODER}encoder_attn_layer_norm\.(.+)', f'{OFFICIAL_LAYER}norm1.{{1}}'),
    (rf'{HF_DECODER}final_layer_norm\.(.+)', f'{OFFICIAL_LAYER}norm3.{{1}}'),
    (rf'{HF_DECODER}mlp\.fc1\.(.+)', f'{OFFICIAL_LAYER}linear1.{{1}}'),
    (rf'{HF_DECODER}mlp\.fc2\.(.+)', f'{OFFICIAL_LAYER}linear2.{{1}}'),
    (rf'{HF_DECODER}encoder_attn\.(.+)', f'{OFFICIAL_LAYER}cross_attn.{{1}}'),
    (rf'{HF_DECODER}self_attn\.o_proj\.(.+)', f'{OFFICIAL_LAYER}self_attn.out_proj.{{1}}'),
    (r'model\.decoder\.(bbox_embed|class_embed)\.(.+)', 'transformer.decoder.{0}.{1}'),
]
# the files on the hub, the module names of transformers 5
HUB_RULES: list[Rule] = [
    (r'model\.backbone\.conv_encoder\.model\.(.+)', 'model.backbone.model.{0}'),
    (r'model\.(encoder|decoder)\.layers\.(\d+)\.(fc1|fc2)\.(.+)', 'model.{0}.layers.{1}.mlp.{2}.{3}'),
    (r'model\.decoder\.layers\.(\d+)\.self_attn\.out_proj\.(.+)', 'model.decoder.layers.{0}.self_attn.o_proj.{1}'),
]

MMDET_RULES: list[Rule] = [
    (r'backbone\.(.+)', 'backbone.0.body.{0}'),
    (r'neck\.convs\.(\d+)\.conv\.(.+)', 'input_proj.{0}.0.{1}'),
    (r'neck\.convs\.(\d+)\.gn\.(.+)', 'input_proj.{0}.1.{1}'),
    (r'query_embedding\.(.+)', 'query_embed.{0}'),
    (r'level_embed', 'transformer.level_embed'),
    (r'reference_points_fc\.(.+)', 'transformer.reference_points.{0}'),
    (r'(encoder|decoder)\.layers\.(\d+)\.ffn\.layers\.0\.0\.(.+)', 'transformer.{0}.layers.{1}.linear1.{2}'),
    (r'(encoder|decoder)\.layers\.(\d+)\.ffn\.layers\.1\.(.+)', 'transformer.{0}.layers.{1}.linear2.{2}'),
    (r'encoder\.layers\.(\d+)\.norms\.0\.(.+)', 'transformer.encoder.layers.{0}.norm1.{1}'),
    (r'encoder\.layers\.(\d+)\.norms\.1\.(.+)', 'transformer.encoder.layers.{0}.norm2.{1}'),
    (r'decoder\.layers\.(\d+)\.norms\.0\.(.+)', 'transformer.decoder.layers.{0}.norm2.{1}'),
    (r'decoder\.layers\.(\d+)\.norms\.1\.(.+)', 'transformer.decoder.layers.{0}.norm1.{1}'),
    (r'decoder\.layers\.(\d+)\.norms\.2\.(.+)', 'transformer.decoder.layers.{0}.norm3.{1}'),
    (r'decoder\.layers\.(\d+)\.self_attn\.attn\.(.+)', 'transformer.decoder.layers.{0}.self_attn.{1}'),
    (r'decoder\.layers\.(\d+)\.cross_attn\.(.+)', 'transformer.decoder.layers.{0}.cross_attn.{1}'),
    (r'encoder\.layers\.(\d+)\.self_attn\.(.+)', 'transformer.encoder.layers.{0}.self_attn.{1}'),
    (r'bbox_head\.cls_branches\.(.+)', 'class_embed.{0}'),
    *[(rf'bbox_head\.reg_branches\.(\d+)\.{2 * i}\.(.+)', f'bbox_embed.{{0}}.layers.{i}.{{1}}') for i in range(3)],
    (r'memory_trans_fc\.(.+)', 'transformer.enc_output.{0}'),
    (r'memory_trans_norm\.(.+)', 'transformer.enc_output_norm.{0}'),
    (r'pos_trans_fc\.(.+)', 'transformer.pos_trans.{0}'),
    (r'pos_trans_norm\.(.+)', 'transformer.pos_trans_norm.{0}'),
]
# MMDetection 2, MMDetection 3
MMDET2_RULES: list[Rule] = [
    (r'bbox_head\.query_embedding\.(.+)', 'query_embedding.{0}'),
    (r'bbox_head\.transformer\.level_embeds', 'level_embed'),
    (r'bbox_head\.transformer\.reference_points\.(.+)', 'reference_points_fc.{0}'),
    (r'bbox_head\.transformer\.enc_output\.(.+)', 'memory_trans_fc.{0}'),
    (r'bbox_head\.transformer\.enc_output_norm\.(.+)', 'memory_trans_norm.{0}'),
    (r'bbox_head\.transformer\.pos_trans\.(.+)', 'pos_trans_fc.{0}'),
    (r'bbox_head\.transformer\.pos_trans_norm\.(.+)', 'pos_trans_norm.{0}'),
    (r'bbox_head\.transformer\.(encoder|decoder)\.layers\.(\d+)\.attentions\.0\.(.+)', '{0}.layers.{1}.self_attn.{2}'),
    (r'bbox_head\.transformer\.decoder\.layers\.(\d+)\.attentions\.1\.(.+)', 'decoder.layers.{0}.cross_attn.{1}'),
    (r'bbox_head\.transformer\.(encoder|decoder)\.layers\.(\d+)\.ffns\.0\.(.+)', '{0}.layers.{1}.ffn.{2}'),
    (r'bbox_head\.transformer\.(encoder|decoder)\.(.+)', '{0}.{1}'),
]


def own_name(name: str) -> str:
    """Return our name of a part that is named as in the official release (``'transformer.encoder'``)."""
    return rename(name, RULES)
