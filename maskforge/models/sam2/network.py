"""SAM 2's network: image encoder, memory, prompt encoder, mask decoder (Ravi et al. 2024)."""
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.backbones.pretrained import Pretrained
from maskforge.models.sam2.image_encoder import ImageEncoder
from maskforge.models.sam2.mask_choice import as_output, choose_masks, without_overlaps
from maskforge.models.sam2.mask_decoder import MaskDecoder
from maskforge.models.sam2.memory_attention import MemoryAttention
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.memory_encoder import MemoryEncoder
from maskforge.models.sam2.network_settings import network_settings
from maskforge.models.sam2.object_memory import gated_pointers, pointer_projection, pointer_tokens, spatial_tokens
from maskforge.models.sam2.position_encoding import sine_map
from maskforge.models.sam2.presets import trunk_settings
from maskforge.models.sam2.prompt_encoder import PromptEncoder
from maskforge.models.sam2.structures import ImageFeatures, MaskOutput, Prompts

#: logits of a mask prompt are MASK_SCALE * mask - MASK_SCALE / 2
MASK_SCALE = 20.
TRUNK = 'image_encoder.trunk.'


class SAM2Network(nn.Module):
    """The parts and how they go together; a row is an object, objects do not see each other.

    Legend: B images, N objects, C = ``hidden_dim``, D = ``memory_dim``, H W pixels of the input, h w = H / 16, W / 16.

    Args:
        arch: 'tiny', 'small', 'base_plus' or 'large', or a dict of the trunk's settings
            (:data:`~maskforge.models.sam2.presets.TRUNK_DEFAULTS`).
        image_size: side or (height, width) that images are brought to; a multiple of 32. The weights do not depend
            on it, and :meth:`encode_images` takes any such size.
        version: '2.1' or '2.0'.
        drop_path_rate: of the trunk's last block.
        trunk_checkpoint: weights for the trunk that :meth:`init_weights` loads: ``timm://sam2_hiera_tiny``, a SAM 2
            file, or a Hiera's that was trained by masked autoencoding (``timm://hiera_tiny_224.mae``).
        **settings: of :class:`~maskforge.models.sam2.network_settings.NetworkSettings`.

    Attributes:
        image_size: (height, width).
        settings: all settings.

    Raises:
        ValueError: settings out of range or against each other. TypeError: unknown ones.
    """

    def __init__(self, *, arch: str | Mapping[str, Any] = 'tiny', image_size: int | Sequence[int] = 1024,
                 version: str = '2.1', drop_path_rate: float | int = 0.,
                 trunk_checkpoint: str | None = None, **settings: Any) -> None:
        super().__init__()
        self.trunk_checkpoint = trunk_checkpoint
        self.settings = own = network_settings(version, **settings)
        trunk = trunk_settings(arch)
        self.size_multiple = math.lcm(32, 4 * trunk['window_spec'][0])
        self.image_size = _image_size(image_size, self.size_multiple)
        self.image_encoder = ImageEncoder(trunk, hidden_dim=own.hidden_dim, top_down_levels=own.fpn_top_down_levels,
                                          drop_path_rate=drop_path_rate, recompute=own.checkpoint_trunk)
        self.sam_prompt_encoder = PromptEncoder(own.hidden_dim)
        self.sam_mask_decoder = MaskDecoder(own)
        self.memory_attention = MemoryAttention(
            own.hidden_dim, memory_dims=own.memory_dim, feedforward=own.memory_feedforward,
            num_layers=own.memory_layers, dropout=own.memory_dropout, recompute=own.checkpoint_memory_attention)
        self.memory_encoder = MemoryEncoder(own.hidden_dim, own.memory_dim)
        self.obj_ptr_proj = pointer_projection(own)
        self._add_tokens()
        if own.compile_image_encoder:
            self.image_encoder.compile(dynamic=False)

    def _add_tokens(self) -> None:
        own = self.settings
        channels, inner = own.hidden_dim, own.memory_dim
        self.maskmem_tpos_enc = _token(own.num_maskmem, 1, 1, inner)
        self.no_mem_embed, self.no_mem_pos_enc = _token(1, 1, channels), _token(1, 1, channels)
        self.no_obj_ptr = _token(1, channels) if own.pred_obj_scores and own.use_obj_ptrs_in_encoder else None
        self.no_obj_embed_spatial = _token(1, inner) if own.no_obj_embed_spatial else None
        self.mask_downsample = nn.Conv2d(1, 1, 4, stride=4) if own.use_obj_ptrs_in_encoder else None
        self.obj_ptr_tpos_proj = nn.Linear(channels, inner) if own.proj_tpos_enc_in_obj_ptrs else nn.Identity()

    def init_weights(self) -> None:
        """Load what ``trunk_checkpoint`` names; everything has its first values already."""
        if self.trunk_checkpoint:
            Pretrained(self.trunk_checkpoint)(self.image_encoder.trunk)

    def encode_images(self, images: Float[Tensor, 'B 3 H W']) -> ImageFeatures:
        """Return the maps of normalised RGB images.

        Raises:
            ValueError: a size that is no multiple of 32.
        """
        _image_size(images.shape[-2:], self.size_multiple)
        decoder = self.sam_mask_decoder
        s16, s8, s4 = self.image_encoder(images, after_s8=decoder.conv_s1, after_s4=decoder.conv_s0)
        return ImageFeatures(s16, s8, s4)

    def wants_multimask(self, prompts: Prompts | None, *, initial: bool) -> bool:
        """Whether the decoder should return several masks: where one click, or none, is ambiguous."""
        own, num_points = self.settings, 0 if prompts is None else prompts.num_points
        return (own.multimask_output_in_sam and (initial or own.multimask_output_for_tracking)
                and own.multimask_min_pt_num <= num_points <= own.multimask_max_pt_num)

    def sam_heads(self, features: ImageFeatures, prompts: Prompts, *, multimask: bool) -> MaskOutput:
        """Return masks, scores and pointers of N objects.

        Args:
            features: a row per object; ``s16`` is conditioned (:meth:`condition`).
            multimask: three masks instead of one.
        """
        own, size = self.settings, tuple(features.s16.shape[-2:])
        tokens, dense = self.sam_prompt_encoder(prompts, num_objects=len(features), size=size)
        decoded = self.sam_mask_decoder(features, self.sam_prompt_encoder.grid(size), tokens, dense)
        chosen = choose_masks(decoded, own, multimask=multimask, training=self.training)
        scores = decoded.object_scores
        output = as_output(chosen, scores, visible=scores > 0 if own.pred_obj_scores else None,
                           size=features.input_size)
        visible = scores.sigmoid() if own.soft_no_obj_ptr else (scores > 0).to(scores.dtype)
        return replace(output, pointers=self._pointers(self.obj_ptr_proj(output.pointers), visible))

    def use_mask(self, features: ImageFeatures, masks: Float[Tensor, 'N 1 H W']) -> MaskOutput:
        """Return a mask prompt as the output of its frame; the decoder only makes the pointer.

        Args:
            features: raw, a row per object.
            masks: 1 inside, 0 outside, or parts.
        """
        masks = masks.float()
        high = masks * MASK_SCALE - MASK_SCALE / 2
        low = self.dense_prompt(high)
        present = (masks.flatten(1) > 0).any(1, keepdim=True).float()
        pointers = features.s16.new_zeros(len(masks), self.settings.hidden_dim)
        if self.mask_downsample is not None:
            prompts = Prompts(masks=self.mask_downsample(masks))
            pointers = self._pointers(self.sam_heads(features, prompts, multimask=False).pointers, present)
        scores = present * MASK_SCALE - MASK_SCALE / 2
        return MaskOutput(low, masks.new_ones(len(masks), 1), scores, low, high, pointers, low)

    def dense_prompt(self, masks: Float[Tensor, 'N 1 H W']) -> Float[Tensor, 'N 1 H4 W4']:
        """Return masks of the input's size at stride 4."""
        size = [side // 4 for side in masks.shape[-2:]]
        return F.interpolate(masks.float(), size=size, mode='bilinear', align_corners=False, antialias=True)

    def _pointers(self, pointers: Float[Tensor, 'N C'], visible: Float[Tensor, 'N 1']) -> Float[Tensor, 'N C']:
        if not self.settings.use_obj_ptrs_in_encoder:
            return torch.zeros_like(pointers)
        return gated_pointers(pointers, visible, self.no_obj_ptr, fixed=self.settings.fixed_no_obj_ptr)

    def condition(self, s16: Float[Tensor, '_ C h w'], bank: MemoryBank, frame: int, *, num_frames: int,
                  initial: bool, reverse: bool = False) -> Float[Tensor, 'N C h w']:
        """Return the frame's map after it has looked at the objects' memories.

        Args:
            s16: raw, a row per object, or one for all.
            bank: memories of the same objects; not looked at by initial frames.
            frame: its index; ``num_frames``: of the clip or video.
            initial: nothing was tracked before: a learnt vector takes the memories' place.
            reverse: the video is tracked towards its beginning.

        Raises:
            ValueError: there is no memory to look at.
        """
        own = self.settings
        if initial and own.directly_add_no_mem_embed:
            return s16 + self.no_mem_embed.transpose(1, 2)[..., None]
        if initial:
            return self.memory_attention(s16, self.no_mem_embed.expand(s16.shape[0], -1, -1), self.no_mem_pos_enc,
                                         unplaced=1)
        selected = bank.select(frame, num_frames=num_frames, settings=own, reverse=reverse, training=self.training)
        if not selected.spatial:
            raise ValueError(f'Frame {frame} has no memory to look at; frames with memories: '
                             f'{sorted({*bank.conditioning, *bank.others})}. The first frame of an object needs a '
                             'prompt (initial=True).')
        tokens, codes = spatial_tokens(selected.spatial, self.maskmem_tpos_enc, s16)
        pointers, pointer_codes = pointer_tokens(selected, own, self.obj_ptr_tpos_proj, s16)
        return self.memory_attention(s16, torch.cat(tokens + pointers, 1), torch.cat(codes + pointer_codes, 1),
                                     unplaced=sum(part.shape[1] for part in pointers))

    def encode_memory(self, s16: Float[Tensor, '_ C h w'], masks_high: Float[Tensor, 'N 1 H W'],
                      object_scores: Float[Tensor, 'N 1'], *,
                      binarize: bool) -> tuple[Float[Tensor, 'N D h w'], Float[Tensor, '1 D h w']]:
        """Return the spatial memory of a frame and its position code (without its place in time).

        Args:
            s16: raw, a row per object, or one for all.
            masks_high: logits; ``object_scores``: logits.
            binarize: masks as 0 or 1 instead of probabilities.
        """
        own = self.settings
        if own.non_overlap_masks_for_mem_enc and not self.training:
            masks_high = without_overlaps(masks_high)
        masks = (masks_high > 0).to(masks_high.dtype) if binarize else masks_high.sigmoid()
        masks = masks * own.sigmoid_scale_for_mem_enc + own.sigmoid_bias_for_mem_enc
        memory = self.memory_encoder(s16, masks)
        if self.no_obj_embed_spatial is not None:
            absent = (object_scores <= 0).to(memory.dtype)
            memory = memory + (absent @ self.no_obj_embed_spatial)[..., None, None]
        return memory, sine_map(own.memory_dim, *memory.shape[-2:], memory.device)

    def layer_id(self, name: str) -> int | None:
        """Return the depth of a parameter of the trunk by its name, for layer-wise decay.

        0 is the embedding of patches and positions, blocks count from 1; None for what is not in the trunk.
        """
        if not name.startswith(TRUNK):
            return None
        block = re.match(r'blocks\.(\d+)\.', name.removeprefix(TRUNK))
        return int(block.group(1)) + 1 if block else 0


def _token(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))


def _image_size(size: int | Sequence[int], multiple: int) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else (int(side) for side in size)
    if height < multiple or width < multiple or height % multiple or width % multiple:
        near = ' x '.join(str(max(round(side / multiple), 1) * multiple) for side in (height, width))
        raise ValueError(f'SAM 2 takes images whose height and width are multiples of {multiple}, got {height} x '
                         f'{width}; the nearest size is {near}. Set image_size, or resize or pad the images.')
    return height, width
