"""How other libraries' names of Swin's tensors relate to the official ones."""
from maskforge.checkpoints.name_rules import Rule

# MMDetection's name, the official one
MMDET_RULES: list[Rule] = [
    (r'patch_embed\.projection\.(.+)', 'patch_embed.proj.{0}'),
    (r'stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.(.+)', 'layers.{0}.blocks.{1}.attn.{2}'),
    (r'stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.(.+)', 'layers.{0}.blocks.{1}.mlp.fc1.{2}'),
    (r'stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.1\.(.+)', 'layers.{0}.blocks.{1}.mlp.fc2.{2}'),
    (r'stages\.(\d+)\.(.+)', 'layers.{0}.{1}'),
]
# the files on the hub, the module names of transformers 5
HUB_RULES: list[Rule] = [
    (r'(.+)\.attention\.self\.query\.(.+)', '{0}.attention.q_proj.{1}'),
    (r'(.+)\.attention\.self\.key\.(.+)', '{0}.attention.k_proj.{1}'),
    (r'(.+)\.attention\.self\.value\.(.+)', '{0}.attention.v_proj.{1}'),
    (r'(.+)\.attention\.self\.(relative_position_bias_table)', '{0}.attention.relative_position_bias.{1}'),
    (r'(.+)\.attention\.output\.dense\.(.+)', '{0}.attention.o_proj.{1}'),
    (r'(.+)\.intermediate\.dense\.(.+)', '{0}.mlp.fc1.{1}'),
    (r'(.+)\.output\.dense\.(.+)', '{0}.mlp.fc2.{1}'),
]
# the module names of transformers 5 (without "swin."), the official ones; q, k and v are joined separately
HF_RULES: list[Rule] = [
    (r'embeddings\.patch_embeddings\.projection\.(.+)', 'patch_embed.proj.{0}'),
    (r'embeddings\.norm\.(.+)', 'patch_embed.norm.{0}'),
    (r'embeddings\.position_embeddings', 'absolute_pos_embed'),
    (r'encoder\.layers\.(\d+)\.blocks\.(\d+)\.layernorm_before\.(.+)', 'layers.{0}.blocks.{1}.norm1.{2}'),
    (r'encoder\.layers\.(\d+)\.blocks\.(\d+)\.layernorm_after\.(.+)', 'layers.{0}.blocks.{1}.norm2.{2}'),
    (r'encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.o_proj\.(.+)', 'layers.{0}.blocks.{1}.attn.proj.{2}'),
    (r'encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.([qkv])_proj\.(.+)', 'layers.{0}.blocks.{1}.attn.{2}.{3}'),
    (r'encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.relative_position_bias\.(relative_position_bias_table)',
     'layers.{0}.blocks.{1}.attn.{2}'),
    (r'encoder\.layers\.(\d+)\.(.+)', 'layers.{0}.{1}'),
]
# buffers that every library computes itself, classifiers and the norm before them
DROPPED = (r'(.+\.)?(attn_mask|relative_position_index|relative_coords_table)'
            r'|(norm|head|classifier|layernorm)\..+|embeddings\.mask_token')
