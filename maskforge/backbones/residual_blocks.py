"""The two residual blocks of ResNet (He et al. 2015, figure 5), with MMDetection's and torchvision's key names."""
from collections.abc import Callable

from jaxtyping import Float
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from maskforge.backbones.recompute import recompute
from maskforge.layers.folded_norm import conv_norm
from maskforge.registry import MODELS

# Statistics and affine terms as buffers: nothing to train, nothing to freeze. ``eps`` is taken from norm_cfg as given.
MODELS.register_module(name='FrozenBN', module=FrozenBatchNorm2d)


def build_norm(norm_cfg: dict, channels: int, index: int) -> tuple[str, nn.Module]:
    """Build a normalisation layer; return its name (``bn1``, ``gn1``) and the module.

    The type is looked up in maskforge's registry whatever the current scope is.
    """
    return build_norm_layer({**norm_cfg, 'type': MODELS.get(norm_cfg['type'])} if isinstance(norm_cfg['type'], str)
                            else norm_cfg, channels, postfix=index)


def conv(inputs: int, outputs: int, size: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution without bias whose padding keeps the size (before the stride)."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=dilation * (size // 2), dilation=dilation, bias=False)


class ResidualBlock(BaseModule):
    """What both blocks share: shortcut, last activation, recomputation; a subclass lists its convolutions.

    Legend: N images, C input channels, ``planes * expansion`` output channels, H W pixels of the level.
    """

    expansion = 1

    def __init__(self, convs: list[nn.Conv2d], *, norm_cfg: dict, downsample: nn.Module | None, with_cp: bool) -> None:
        super().__init__()
        self._steps: list[tuple[str, str]] = []
        for index, layer in enumerate(convs, start=1):
            norm_name, norm = build_norm(norm_cfg, layer.out_channels, index)
            self.add_module(f'conv{index}', layer)
            self.add_module(norm_name, norm)
            self._steps.append((f'conv{index}', norm_name))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.with_cp = with_cp

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation before the sum (set to zero by ``zero_init_residual``)."""
        return getattr(self, self._steps[-1][1])

    def forward(self, features: Float[Tensor, 'N C H W']) -> Float[Tensor, 'N _ _ _']:
        """Return relu(shortcut + convolutions)."""
        if self.with_cp and features.requires_grad:
            return self.relu(recompute(self, features, run=self._sum))
        return self.relu(self._sum(features))

    def _sum(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        for conv_name, norm_name in self._steps[:-1]:
            features = self.relu(conv_norm(getattr(self, conv_name), getattr(self, norm_name), features))
        conv_name, norm_name = self._steps[-1]
        features = conv_norm(getattr(self, conv_name), getattr(self, norm_name), features)
        features += shortcut
        return features


BlockFactory = Callable[..., ResidualBlock]


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, the stride on the first (depths 18 and 34). ``style`` makes no difference here."""

    def __init__(self, inputs: int, planes: int, *, stride: int, dilation: int, style: str, **shared) -> None:
        super().__init__([conv(inputs, planes, 3, stride=stride, dilation=dilation), conv(planes, planes, 3)], **shared)


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions; the stride on the 3x3 (``pytorch``) or on the first 1x1 (``caffe``)."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, *, stride: int, dilation: int, style: str, **shared) -> None:
        first, second = (stride, 1) if style == 'caffe' else (1, stride)
        super().__init__([conv(inputs, planes, 1, stride=first),
                          conv(planes, planes, 3, stride=second, dilation=dilation),
                          conv(planes, planes * self.expansion, 1)], **shared)
