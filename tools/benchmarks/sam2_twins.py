"""Our SAM 2.1 (tiny) and transformers' with the same random weights, and videos for both."""
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.checkpoints import load_weights
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.video_predictor import VideoPredictor


def make_twins(side: int) -> tuple[SAM2Network, nn.Module]:
    """Ours and theirs for square inputs, in evaluation mode."""
    theirs = their_model(side)
    ours = SAM2Network(arch='tiny', image_size=side).eval()
    report = load_weights(ours, theirs.state_dict())
    if not report.complete:
        raise RuntimeError(report.summary())
    return ours, theirs


def their_model(side: int) -> nn.Module:
    """From a config, nothing is downloaded; objects are visible, and no part of the network is zero."""
    import transformers
    torch.manual_seed(0)
    maps = [[side // stride] * 2 for stride in (4, 8, 16)]
    vision = transformers.Sam2VisionConfig(backbone_config=transformers.Sam2HieraDetConfig(image_size=[side, side]),
                                           backbone_feature_sizes=maps)
    model = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(
        vision_config=vision, image_size=side, prompt_encoder_config=dict(image_size=side),
        mask_decoder_config=dict(dynamic_multimask_via_stability=False), memory_attention_rope_feat_sizes=maps[2]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or 'embed' in name or 'token' in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif name.endswith('weight'):
                parameter.normal_(0, parameter[0].numel()**-0.5)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(2.)
    code = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(code)
    return model.eval()


@dataclass(frozen=True)
class Video:
    """A video and what its user says on the first frame.

    Attributes:
        frames: (T, 3, H, W) uint8 BGR, of the networks' input size.
        clicks: x, y of each object's click; None gives masks.
        masks: (N, H, W) bool of the objects.
    """

    frames: Tensor
    clicks: Tensor | None
    masks: Tensor


def make_video(side: int, *, frames: int, objects: int, prompt: str) -> Video:
    """Blobs of colour that drift, and ellipses."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(frames, 3, 9, 9, generator=generator) * 0.3 + torch.rand(1, 3, 9, 9, generator=generator) * 0.7
    pixels = F.interpolate(coarse, size=(side, side), mode='bicubic', align_corners=False).clamp(0, 1)
    noise = torch.randint(0, 30, pixels.shape, generator=generator)
    centers = (torch.rand(objects, 2, generator=generator) * 0.5 + 0.25) * side
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing='ij')
    masks = ((x - centers[:, 0, None, None])**2 + 2 * (y - centers[:, 1, None, None])**2) < (side / 5)**2
    return Video((pixels * 220 + noise).to(torch.uint8), centers if prompt == 'click' else None, masks)


def our_masks(predictor: VideoPredictor, video: Video) -> list[Tensor]:
    """Logits (N, H, W) of every frame."""
    session = predictor.open(video.frames)
    for number, mask in enumerate(video.masks):
        if video.clicks is None:
            session.add_mask(0, number, mask)
        else:
            session.add_points_or_box(0, number, point_coords=video.clicks[None, number], point_labels=[1])
    return [result.logits for result in session.propagate()]


def their_masks(model: nn.Module, predictor: VideoPredictor, video: Video) -> list[Tensor]:
    """The same by transformers' session; frames are normalised as ours are."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession
    size = tuple(video.frames.shape[-2:])
    session = Sam2VideoInferenceSession(video=predictor.scaling.images(video.frames, torch.device('cpu')),
                                        video_height=size[0], video_width=size[1], dtype=torch.float32)
    for number, mask in enumerate(video.masks):
        row = session.obj_id_to_idx(number)
        if video.clicks is None:
            session.add_mask_inputs(row, 0, mask[None, None].float())
        else:
            session.add_point_inputs(row, 0, dict(point_coords=video.clicks[None, None, None, number],
                                                  point_labels=torch.ones(1, 1, 1, dtype=torch.int32)))
        session.obj_with_new_inputs.append(number)
    return [F.interpolate(found.pred_masks.float(), size=size, mode='bilinear', align_corners=False)[:, 0]
            for found in model.propagate_in_video_iterator(session, start_frame_idx=0)]
