"""ResNet as a detector's backbone (He et al. 2015), with MMDetection's arguments and key names."""
from collections.abc import Sequence

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from maskforge.backbones.residual_blocks import BasicBlock, Bottleneck, ResidualBlock, build_norm, conv
from maskforge.layers.folded_norm import FoldedConvNorm, conv_norm
from maskforge.ops.exporting import is_exporting
from maskforge.registry import MODELS, SCOPE

STAGE_BLOCKS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
STEM_STRIDE = 4


@MODELS.register_module()
class ResNet(BaseModule):
    """Image to feature levels ``layer1`` .. ``layer4`` (those of ``out_indices``).

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels, base_channels: channels of the image and of the first stage (64; smaller for tiny models).
        num_stages: stages that are built, 1 to 4.
        strides, dilations: per stage; a dilated stage with stride 1 keeps the resolution.
        out_indices: stages whose output is returned, 0-based.
        style: ``'pytorch'`` puts the stride on the 3x3 convolution, ``'caffe'`` on the first 1x1; the two have the
            same keys, so a checkpoint does not tell which one it was trained with.
        frozen_stages: -1 freezes nothing, 0 the stem, k the stem and the first k stages (no gradient, always eval).
        norm_cfg: ``dict(type='BN', requires_grad=False)`` freezes the affine terms; ``FrozenBN`` holds them as buffers.
        norm_eval: keep batch statistics fixed while training.
        with_cp: recompute the blocks' activations in the backward pass instead of keeping them.
        zero_init_residual: without pretrained weights, start every block as its shortcut.
        channels_last: keep the channels of a pixel next to one another in memory, here and in all that follows; only
            speed changes, and results by rounding. None: on CPUs, where it is faster.
        init_cfg: ``dict(type='Pretrained', checkpoint='torchvision://resnet50')`` or any MMEngine initialiser.

    Attributes:
        out_channels, strides: channels and stride in pixels of the returned levels.

    Raises:
        ValueError: an argument out of range, with the values that are allowed.
    """

    def __init__(self, depth: int, *, in_channels: int = 3, base_channels: int = 64, num_stages: int = 4,
                 strides: Sequence[int] = (1, 2, 2, 2), dilations: Sequence[int] = (1, 1, 1, 1),
                 out_indices: Sequence[int] = (0, 1, 2, 3), style: str = 'pytorch', frozen_stages: int = -1,
                 norm_cfg: dict | None = None, norm_eval: bool = True, with_cp: bool = False,
                 zero_init_residual: bool = True, channels_last: bool | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        _check_arguments(depth, num_stages, strides, dilations, out_indices, style, frozen_stages)
        self.depth, self.style, self.frozen_stages = depth, style, frozen_stages
        self.norm_eval, self.out_indices = norm_eval, tuple(out_indices)
        self.zero_init_residual, self.channels_last = zero_init_residual, channels_last
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        self._build_stem(in_channels, base_channels, norm_cfg)
        self._build_stages(base_channels, strides[:num_stages], dilations[:num_stages], norm_cfg, with_cp)
        self._freeze()

    def _build_stem(self, in_channels: int, channels: int, norm_cfg: dict) -> None:
        self.conv1 = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self._stem_norm, norm = build_norm(norm_cfg, channels, 1)
        self.add_module(self._stem_norm, norm)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def _build_stages(self, inputs: int, strides: Sequence[int], dilations: Sequence[int], norm_cfg: dict,
                      with_cp: bool) -> None:
        block, depths = STAGE_BLOCKS[self.depth]
        level_channels, level_strides, planes, pixels = [], [], inputs, STEM_STRIDE
        self._stages: list[str] = []
        for index, (count, stride, dilation) in enumerate(zip(depths, strides, dilations), start=1):
            options = dict(dilation=dilation, style=self.style, norm_cfg=norm_cfg, with_cp=with_cp)
            self.add_module(f'layer{index}', _build_stage(block, count, inputs, planes, stride, options))
            self._stages.append(f'layer{index}')
            inputs, pixels = planes * block.expansion, pixels * stride
            level_channels.append(inputs)
            level_strides.append(pixels)
            planes *= 2
        self.out_channels = tuple(level_channels[i] for i in self.out_indices)
        self.strides = tuple(level_strides[i] for i in self.out_indices)

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        stages = [getattr(self, name) for name in self._stages[:self.frozen_stages]]
        return [self.conv1, getattr(self, self._stem_norm), *stages]

    def _freeze(self) -> None:
        for module in self._frozen():
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'ResNet':
        """Switch the mode; frozen stages and, with ``norm_eval``, all batch norms stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Initialise by ``init_cfg``; without one: Kaiming convolutions, unit norms, zero last norms of the blocks."""
        if self.init_cfg is None and not self.is_init:
            self._init_from_scratch()
        # MMEngine looks initialisers up in the current scope; outside a Runner there is none, and ours would be missed
        with DefaultScope.overwrite_default_scope(None if DefaultScope.get_current_instance() else SCOPE):
            super().init_weights()

    def _init_from_scratch(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif isinstance(module, ResidualBlock) and self.zero_init_residual and _trains(module.last_norm):
                nn.init.zeros_(module.last_norm.weight)

    def forward(self, images: Float[Tensor, 'N C H W']) -> tuple[Float[Tensor, 'N _ _ _'], ...]:
        """Return the levels of ``out_indices``: (N, out_channels[i], ~H / strides[i], ~W / strides[i])."""
        if not is_exporting() and (images.device.type == 'cpu' if self.channels_last is None else self.channels_last):
            images = images.contiguous(memory_format=torch.channels_last)
        features = self.maxpool(self.relu(conv_norm(self.conv1, getattr(self, self._stem_norm), images)))
        levels = []
        for index, name in enumerate(self._stages):
            features = getattr(self, name)(features)
            if index in self.out_indices:
                levels.append(features)
        return tuple(levels)


def _trains(norm: nn.Module) -> bool:
    """A frozen norm that starts at zero would cut its block off for good."""
    return any(parameter.requires_grad for parameter in norm.parameters())


def _build_stage(block: type, count: int, inputs: int, planes: int, stride: int, options: dict) -> nn.Sequential:
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        norm = build_norm(options['norm_cfg'], outputs, 1)[1]
        downsample = FoldedConvNorm(conv(inputs, outputs, 1, stride=stride), norm)
    first = block(inputs, planes, stride=stride, downsample=downsample, **options)
    rest = [block(outputs, planes, stride=1, downsample=None, **options) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)


def _check_arguments(depth: int, num_stages: int, strides: Sequence[int], dilations: Sequence[int],
                     out_indices: Sequence[int], style: str, frozen_stages: int) -> None:
    if depth not in STAGE_BLOCKS:
        raise ValueError(f'ResNet: depth={depth!r} is not one of {", ".join(map(str, STAGE_BLOCKS))}.')
    if not 1 <= num_stages <= 4:
        raise ValueError(f'ResNet: num_stages={num_stages} is not in 1 to 4.')
    if len(strides) < num_stages or len(dilations) < num_stages:
        raise ValueError(f'ResNet: num_stages={num_stages} needs that many strides and dilations, '
                         f'got strides={tuple(strides)} and dilations={tuple(dilations)}.')
    bad = [i for i in out_indices if not 0 <= i < num_stages]
    if bad or not out_indices:
        raise ValueError(f'ResNet: out_indices={tuple(out_indices)} must be stages from 0 to {num_stages - 1}.')
    if style not in ('pytorch', 'caffe'):
        raise ValueError(f"ResNet: style={style!r} is not 'pytorch' or 'caffe'.")
    if not -1 <= frozen_stages <= num_stages:
        raise ValueError(f'ResNet: frozen_stages={frozen_stages} is not in -1 to {num_stages}.')
