"""SAM 2 as two exportable modules: an image encoder, and a decoder that segments by prompts what was encoded.

The encoder's maps are those that the decoder works on (of an image there is nothing to remember, which the encoder
adds), so one call of it serves any number of calls of the decoder. A file is for one size of images: the trunk's
windows and position codes depend on it. Numbers of images, objects and points are open.

Legend: B images, N objects, P points, M masks per object, C channels, H W input pixels, h w a quarter of them.
"""
import copy
import zlib
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.attention import make_attention_explicit
from maskforge.models.sam2.mask_choice import choose_masks
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.structures import ImageFeatures
from maskforge.structures import ExportSpec

TASK = 'promptable_segmentation'
#: which masks of the decoder a file has: one per object, three, or the one and then the three
CHOICES = {'single': 1, 'several': 3, 'all': 4}
#: 'low_res': logits at stride 4; 'original': also at the size of the original image
OUTPUTS = ('low_res', 'original')
#: the dynamo exporter, from here on, takes no size from the values of an input
FIRST_DYNAMO_OPSET = 18
PROMPTS = ('point_coords', 'point_labels', 'mask_input', 'has_mask_input')
TOLERANCE = dict(s16=1e-3, s8=1e-3, s4=1e-3, low_res_masks=1e-2, masks=1e-2, ious=1e-3, object_scores=1e-2)
MEANINGS = dict(
    s16='map at stride 16, for the decoder', s8='map at stride 8, for the decoder',
    s4='map at stride 4, for the decoder',
    low_res_masks='logits at stride 4; above 0 is inside', masks='logits at orig_im_size; above 0 is inside',
    ious='predicted IoU of each mask', object_scores='logit of the object being visible; masks are not emptied by it')


class EncoderExport(nn.Module):
    """Images to the decoder's maps; normalisation included.

    Args:
        network: in evaluation mode, of the exported size; it is changed.
        mean, std: (3, 1, 1), RGB.
    """

    def __init__(self, network: SAM2Network, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer('mean', mean.clone(), persistent=False)
        self.register_buffer('std', std.clone(), persistent=False)
        _fix_position_code(network)

    @property
    def names(self) -> list[str]:
        """Of the maps."""
        return ['s16', 's8', 's4'] if self.network.settings.use_high_res_features_in_sam else ['s16']

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> tuple[Tensor, ...]:
        """Return the maps (B, C, H / 16, W / 16), (B, C / 4, H / 8, W / 8), (B, C / 8, H / 4, W / 4) of RGB images
        with values 0 to 255.
        """
        network = self.network
        features = network.encode_images((images - self.mean) / self.std)
        s16 = network.condition(features.s16, MemoryBank(), 0, num_frames=1, initial=True)
        return tuple(part for part in (s16, features.s8, features.s4) if part is not None)


class DecoderExport(nn.Module):
    """Maps of one image and prompts of N objects to masks.

    Args:
        network: in evaluation mode, of the exported size.
        masks: of :data:`CHOICES`.
        output: of :data:`OUTPUTS`.
    """

    def __init__(self, network: SAM2Network, *, masks: str, output: str) -> None:
        super().__init__()
        self.settings, self.choice, self.output = network.settings, masks, output
        self.prompt_encoder, self.decoder = network.sam_prompt_encoder, network.sam_mask_decoder
        self.size = tuple(side // 16 for side in network.image_size)
        with torch.no_grad():
            self.register_buffer('grid', self.prompt_encoder.grid(self.size).contiguous(), persistent=False)

    @property
    def names(self) -> list[str]:
        """Of the outputs."""
        return [*(['masks'] if self.output == 'original' else []), 'low_res_masks', 'ious', 'object_scores']

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs named in ``names``: (N, M, H0, W0), (N, M, h, w), (N, M), (N, 1).

        Args:
            inputs: the encoder's maps of one image; ``point_coords`` (N, P, 2), x and y in pixels of the input;
                ``point_labels`` (N, P) int64, as in :class:`~maskforge.models.sam2.structures.Prompts`;
                ``mask_input`` (N, 1, h, w) logits; ``has_mask_input`` (N,), 1 where they count; and for 'original'
                ``orig_im_size`` (2,) int64, height and width.
        """
        count = 3 if self.settings.use_high_res_features_in_sam else 1
        features = ImageFeatures(*inputs[:count], *[None] * (3 - count))
        points, labels, given, has_mask, *size = inputs[count:]
        tokens = self.prompt_encoder.tokens(points, labels, self.size)
        decoded = self.decoder(features, self.grid, tokens, self._dense(given, has_mask))
        chosen = [choose_masks(decoded, self.settings, multimask=several, training=False)
                  for several in (False, True) if self.choice in ('all', 'several' if several else 'single')]
        low, ious = (torch.cat(parts, dim=1) for parts in zip(*((one.masks, one.ious) for one in chosen)))
        enlarged = [F.interpolate(low, size=(part[0], part[1]), mode='bilinear', align_corners=False) for part in size]
        return *enlarged, low, ious, decoded.object_scores

    def _dense(self, given: Float[Tensor, 'N 1 h w'], has_mask: Float[Tensor, ' N']) -> Float[Tensor, 'N C h16 w16']:
        encoder = self.prompt_encoder
        none = encoder.no_mask_embed.weight[..., None, None]
        return torch.where(has_mask[:, None, None, None] > 0, encoder.mask_downscaling(given), none)


def export_specs(network: SAM2Network, *, mean: Tensor, std: Tensor, height: int, width: int, batch_size: int = -1,
                 opset_version: int = 17, dynamic_size: bool = False, masks: str = 'all',
                 output: str = 'low_res') -> dict[str, ExportSpec]:
    """Describe the two files, ``encoder`` and ``decoder``.

    Args:
        network: is copied.
        mean, std: (3, 1, 1), RGB.
        height, width: of the encoder's input.
        batch_size: images per call of the encoder; -1 leaves it open. The decoder takes one image.
        dynamic_size: refused.
        masks: 'single', 'several' or 'all' masks per object.
        output: 'original' has the decoder enlarge the masks as well.

    Raises:
        ValueError: options out of range or that do not go together.
    """
    _check_options(masks, output, opset_version, dynamic_size)
    network = _resized_copy(network, (height, width))
    encoder = EncoderExport(network, mean, std).eval()
    decoder = DecoderExport(network, masks=masks, output=output).eval()
    facts = _facts(network, masks)
    images = torch.rand(batch_size if batch_size > 0 else 2, 3, height, width) * 255
    axes = {name: {0: 'batch'} for name in ('inputs', *encoder.names)} if batch_size == -1 else {}
    with torch.no_grad():
        maps = [part[:1] for part in encoder(images[:1])]
    rule = dict(channel_order='RGB', keep_ratio=False, scale=None, pads=False, pad_size_divisor=1,
                input_size=[height, width], mean=mean.flatten().tolist(), std=std.flatten().tolist(),
                notes=dict(resize='bilinear with antialiasing'))
    return dict(
        encoder=ExportSpec(encoder, (images,), ['inputs'], encoder.names, axes,
                           tolerance=_pick(TOLERANCE, encoder.names),
                           metadata=facts | dict(part='encoder', preprocessing=rule,
                                                 outputs=_pick(MEANINGS, encoder.names))),
        decoder=ExportSpec(decoder, (*maps, *_example_prompts(decoder, objects=2)),
                           [*encoder.names, *PROMPTS, *(['orig_im_size'] if output == 'original' else [])],
                           decoder.names, _decoder_axes(decoder), tolerance=_pick(TOLERANCE, decoder.names),
                           metadata=facts | dict(part='decoder', preprocessing=rule,
                                                 outputs=_pick(MEANINGS, decoder.names)),
                           inputs_of=_inputs_of(encoder, decoder)))


def _check_options(masks: str, output: str, opset_version: int, dynamic_size: bool) -> None:
    for name, value, allowed in (('masks', masks, CHOICES), ('output', output, OUTPUTS)):
        if value not in allowed:
            raise ValueError(f'export_cfg.model_options.{name}={value!r} is not one of {", ".join(allowed)}.')
    if dynamic_size:
        raise ValueError('export_cfg.dynamic_size=True: SAM 2 is exported for one size of images, to which any image '
                         'is resized. Set export_cfg.input_height and input_width.')
    if output == 'original' and opset_version >= FIRST_DYNAMO_OPSET:
        raise ValueError(f"export_cfg.model_options.output='original' needs export_cfg.opset_version up to "
                         f"{FIRST_DYNAMO_OPSET - 1}, got {opset_version}; output='low_res' goes with any.")


def _resized_copy(network: SAM2Network, size: tuple[int, int]) -> SAM2Network:
    multiple = network.size_multiple
    if any(side < multiple or side % multiple for side in size):
        raise ValueError(f'Export size (height, width) = {size} must be multiples of {multiple}.')
    network = copy.deepcopy(network).eval()
    network.image_size = size
    make_attention_explicit(network)
    return network


def _fix_position_code(network: SAM2Network) -> None:
    """The trunk interpolates and tiles its position code in every call; for one size it is a constant."""
    trunk = network.image_encoder.trunk
    with torch.no_grad():
        shape = (1, *(side // 4 for side in network.image_size), trunk.pos_embed.shape[1])
        trunk.register_buffer('position', trunk._pos_embed(torch.zeros(shape)), persistent=False)
    trunk._pos_embed = lambda x: x + trunk.position


def _facts(network: SAM2Network, masks: str) -> dict:
    checksum = 0
    for value in network.state_dict().values():
        checksum = zlib.crc32(value.detach().cpu().float().contiguous().numpy(), checksum)
    return dict(task=TASK, model='SAM2', weights=f'{checksum:08x}', multimask=masks,
                input_size=list(network.image_size), mask_threshold=0.0,
                dynamic_multimask=network.settings.dynamic_multimask_via_stability)


def _pick(values: dict, names: list[str]) -> dict:
    return {name: values[name] for name in names}


def _example_prompts(decoder: DecoderExport, *, objects: int) -> tuple[Tensor, ...]:
    """A box with a click, a mask, and a lone click, by turns."""
    height, width = (16 * side for side in decoder.size)
    box = torch.tensor([[0.2, 0.25], [0.7, 0.8], [0.4, 0.5]]) * torch.tensor([width, height])
    kinds = [[2, 3, 1], [-1, -1, -1], [-1, -1, 1]]
    labels = torch.tensor([kinds[row % 3] for row in range(objects)])
    masks = torch.linspace(-6, 6, width // 4).expand(objects, 1, height // 4, -1).contiguous()
    has_mask = torch.tensor([float(row % 3 == 1) for row in range(objects)])
    size = [torch.tensor([height + 10, width * 2])] if decoder.output == 'original' else []
    return box.expand(objects, -1, -1).contiguous(), labels, masks, has_mask, *size


def _decoder_axes(decoder: DecoderExport) -> dict[str, dict[int, str]]:
    axes = {name: {0: 'objects'} for name in (*PROMPTS, *decoder.names)}
    for name in PROMPTS[:2]:
        axes[name][1] = 'points'
    if decoder.output == 'original':
        axes['masks'].update({2: 'height', 3: 'width'})
    return axes


def _inputs_of(encoder: EncoderExport, decoder: DecoderExport) -> Callable[[Tensor], list[tuple[Tensor, ...]]]:
    def inputs_of(images: Tensor) -> list[tuple[Tensor, ...]]:
        """Every image with one object and with three."""
        maps = encoder(images)
        return [(*(part[row:row + 1] for part in maps), *_example_prompts(decoder, objects=objects))
                for row in range(len(images)) for objects in (1, 3)]
    return inputs_of
