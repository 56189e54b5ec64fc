"""transformers' SAM 2 at toy size with random weights, and ours with the same."""
import functools

import pytest
import torch
from tiny_sam2 import TINY, TINY_TRUNK
from torch import nn

from maskforge.checkpoints import load_weights
from maskforge.models.sam2.network import SAM2Network

transformers = pytest.importorskip('transformers')

SIDE = 64
# transformers has no other width of memories than 64
SIZES = {**TINY, 'image_size': SIDE, 'hidden_dim': 128, 'memory_dim': 64}
# what transformers does
SETTINGS = dict(binarize_mask_from_pts_for_mem_enc=True, use_mask_input_as_output_without_sam=True)


def vision_config():
    stages, width = TINY_TRUNK['stages'], TINY_TRUNK['embed_dim']
    trunk = transformers.Sam2HieraDetConfig(
        hidden_size=width, num_attention_heads=1, image_size=[SIDE, SIDE], blocks_per_stage=list(stages),
        embed_dim_per_stage=[width * 2**i for i in range(4)], num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=list(TINY_TRUNK['window_spec']),
        global_attention_blocks=list(TINY_TRUNK['global_att_blocks']),
        window_positional_embedding_background_size=list(TINY_TRUNK['window_pos_embed_bkg_spatial_size']))
    return transformers.Sam2VisionConfig(
        backbone_config=trunk, backbone_channel_list=[width * 2**i for i in (3, 2, 1, 0)],
        backbone_feature_sizes=[[SIDE // stride] * 2 for stride in (4, 8, 16)], fpn_hidden_size=SIZES['hidden_dim'])


def parts_config(stability: bool):
    width = SIZES['hidden_dim']
    return dict(prompt_encoder_config=dict(hidden_size=width, image_size=SIDE),
                mask_decoder_config=dict(hidden_size=width, mlp_dim=SIZES['decoder_mlp'],
                                         num_attention_heads=SIZES['decoder_heads'], iou_head_hidden_dim=width,
                                         dynamic_multimask_via_stability=stability))


@functools.cache
def their_video_model(*, version: str = '2.1', stability: bool = False, seed: int = 0, **changes) -> nn.Module:
    width, two_one = SIZES['hidden_dim'], version == '2.1'
    config = transformers.Sam2VideoConfig(
        vision_config=vision_config(), **parts_config(stability), image_size=SIDE,
        enable_occlusion_spatial_embedding=two_one, enable_temporal_pos_encoding_for_object_pointers=two_one,
        memory_attention_hidden_size=width, memory_attention_num_layers=SIZES['memory_layers'],
        memory_attention_feed_forward_hidden_size=SIZES['memory_feedforward'], memory_encoder_hidden_size=width,
        memory_attention_rope_feat_sizes=[SIDE // 16] * 2, memory_encoder_output_channels=SIZES['memory_dim'],
        mask_downsampler_embed_dim=width, memory_fuser_embed_dim=width, memory_fuser_intermediate_dim=4 * width,
        **changes)
    return randomised(transformers.Sam2VideoModel(config).eval(), seed)


@torch.no_grad()
def randomised(model: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if 'positional_embedding' in name:
            continue
        drawn = torch.randn(tensor.shape, generator=generator)
        if 'norm' in name and name.endswith('weight'):
            tensor.copy_(1 + 0.2 * drawn)
        elif tensor.ndim > 1 and name.endswith('weight') and 'embed' not in name and 'token' not in name:
            tensor.copy_(0.7 * drawn / tensor[0].numel()**0.5)
        elif name.endswith('scale'):
            tensor.copy_(0.5 * drawn)
        elif tensor.is_floating_point() and 'inv_freq' not in name:
            tensor.copy_(0.3 * drawn)
    # objects are visible unless a test wants otherwise
    model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(2.)
    # the same in every published file
    code = model.shared_image_embedding.positional_embedding
    code.copy_(torch.randn(code.shape, generator=generator))
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(code)
    return model


@functools.cache
def ours_like(theirs: nn.Module, **changes) -> SAM2Network:
    network = SAM2Network(**{**SIZES, **SETTINGS, **changes}).eval()
    report = load_weights(network, theirs.state_dict())
    assert report.complete, report.summary()
    assert report.layout == 'HuggingFaceSAM2Layout'
    return network


def their_image_model(video_model: nn.Module, *, stability: bool = False) -> nn.Module:
    model = transformers.Sam2Model(transformers.Sam2Config(vision_config=vision_config(),
                                                           **parts_config(stability))).eval()
    model.load_state_dict({name: value for name, value in video_model.state_dict().items()
                           if name in model.state_dict()})
    return model
