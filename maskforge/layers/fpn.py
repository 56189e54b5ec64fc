"""Feature pyramid network (Lin et al. 2017, section 3), with MMDetection's arguments and key names."""
from collections.abc import Sequence

from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.conv_norm import ConvNorm
from maskforge.registry import MODELS

EXTRA_SOURCES = ('on_input', 'on_lateral', 'on_output')


@MODELS.register_module()
class FPN(BaseModule):
    """Backbone levels to levels of one width, with a top-down path.

    Args:
        in_channels: of the backbone's levels.
        out_channels: of every level returned.
        num_outs: levels returned; those beyond the backbone's are subsampled from the last one, or convolved.
        start_level, end_level: first and last backbone level that is used; -1 is the last one.
        add_extra_convs: False, or where stride-2 convolutions for the additional levels start:
            'on_input' (True means this), 'on_lateral', 'on_output'.
        relu_before_extra_convs: ReLU before each additional convolution but the first.
        norm_cfg: normalisation of the lateral and output convolutions; None has biases instead.
        no_norm_on_lateral: leave it out of the lateral ones.

    Raises:
        ValueError: level numbers that do not fit, or an unknown ``add_extra_convs``.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_outs: int, *, start_level: int = 0,
                 end_level: int = -1, add_extra_convs: bool | str = False, relu_before_extra_convs: bool = False,
                 norm_cfg: dict | None = None, no_norm_on_lateral: bool = False,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels, self.num_outs = list(in_channels), out_channels, num_outs
        stop = len(self.in_channels) if end_level == -1 else end_level + 1
        self.add_extra_convs = 'on_input' if add_extra_convs is True else add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        self.levels = range(start_level, stop)
        self._check()
        used = [self.in_channels[i] for i in self.levels]
        lateral_norm = None if no_norm_on_lateral else norm_cfg
        self.lateral_convs = nn.ModuleList(
            ConvNorm(channels, out_channels, 1, norm_cfg=lateral_norm, relu=False) for channels in used)
        self.fpn_convs = nn.ModuleList(
            ConvNorm(out_channels, out_channels, norm_cfg=norm_cfg, relu=False) for _ in used)
        if self.add_extra_convs:
            first = used[-1] if self.add_extra_convs == 'on_input' else out_channels
            for index in range(num_outs - len(used)):
                inputs = out_channels if index else first
                self.fpn_convs.append(ConvNorm(inputs, out_channels, stride=2, norm_cfg=norm_cfg, relu=False))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _check(self) -> None:
        levels = len(self.in_channels)
        if not (0 <= self.levels.start < self.levels.stop <= levels) or self.num_outs < len(self.levels):
            raise ValueError(f'FPN: start_level={self.levels.start}, end_level={self.levels.stop - 1} and '
                             f'num_outs={self.num_outs} do not fit the {levels} in_channels {self.in_channels}.')
        if self.add_extra_convs and self.add_extra_convs not in EXTRA_SOURCES:
            raise ValueError(f'FPN: add_extra_convs={self.add_extra_convs!r} is not False, True or one of '
                             f'{", ".join(EXTRA_SOURCES)}.')

    def forward(self, inputs: Sequence[Float[Tensor, 'B _ _ _']]) -> tuple[Float[Tensor, 'B _ _ _'], ...]:
        """Return ``num_outs`` levels, finest first.

        Raises:
            ValueError: the backbone's levels are not those of ``in_channels``.
        """
        channels = [level.shape[1] for level in inputs]
        if channels != self.in_channels:
            raise ValueError(f'The backbone returns levels of {channels} channels, but neck.in_channels is '
                             f'{self.in_channels}.')
        laterals = [conv(inputs[i]) for i, conv in zip(self.levels, self.lateral_convs)]
        for i in range(len(laterals) - 1, 0, -1):
            size = laterals[i - 1].shape[-2:]
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size=size, mode='nearest')
        outputs = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        return tuple(outputs + self._extra(inputs, laterals, outputs))

    def _extra(self, inputs: Sequence[Tensor], laterals: list[Tensor], outputs: list[Tensor]) -> list[Tensor]:
        extra: list[Tensor] = []
        if not self.add_extra_convs:
            last = outputs[-1]
            for _ in range(self.num_outs - len(outputs)):
                last = F.max_pool2d(last, 1, stride=2)
                extra.append(last)
            return extra
        sources = dict(on_input=inputs[self.levels[-1]], on_lateral=laterals[-1], on_output=outputs[-1])
        last = sources[self.add_extra_convs]
        for index, conv in enumerate(self.fpn_convs[len(laterals):]):
            last = conv(F.relu(last) if index and self.relu_before_extra_convs else last)
            extra.append(last)
        return extra
