"""A convolution and a batch norm that stands still, computed as one convolution."""
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops.misc import FrozenBatchNorm2d

from maskforge.ops.exporting import is_recorded

_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def conv_norm(conv: nn.Module, norm: nn.Module, features: Float[Tensor, 'N C H W']) -> Float[Tensor, 'N _ _ _']:
    """Return ``norm(conv(features))``.

    A batch norm with fixed statistics scales and shifts channels, so it is put into the weights, in every call anew,
    where they are fewer than the numbers of the map. The map before the norm need not be kept for the backward pass
    then. The gradients of all parameters are those of the two layers.
    """
    if not (_can_fold(conv, norm) and _pays(conv, features)):
        return norm(conv(features))
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = conv.weight * scale[:, None, None, None]
    return F.conv2d(features, weight, norm.bias - norm.running_mean * scale, conv.stride, conv.padding, conv.dilation,
                    conv.groups)


class FoldedConvNorm(nn.Sequential):
    """A convolution and its norm as members 0 and 1, run by :func:`conv_norm`."""

    def forward(self, features: Float[Tensor, 'N C H W']) -> Float[Tensor, 'N _ _ _']:
        """Return ``norm(conv(features))``."""
        return conv_norm(self[0], self[1], features)


def _pays(conv: nn.Conv2d, features: Tensor) -> bool:
    """Whether the resulting map has more pixels than its channels have weights each."""
    images, _, height, width = features.shape
    return images * height * width >= conv.weight[0].numel() * conv.stride[0] * conv.stride[1]


def _can_fold(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether the result is the same but for rounding, and the norm's own launch costs more."""
    if type(conv) is not nn.Conv2d or conv.bias is not None or conv.padding_mode != 'zeros':
        return False
    # exported files keep the layers, and compilers fuse them themselves
    if is_recorded():
        return False
    if isinstance(norm, _BatchNorm):
        # on a GPU it is one launch, and scaling the weights would be several
        if norm.training or norm.running_var is None or norm.weight is None or conv.weight.is_cuda:
            return False
    elif type(norm) is not FrozenBatchNorm2d:
        return False
    # whoever watches one of the two wants it called; weights in half precision would be rounded once more
    watched = any(getattr(module, kind) for module in (conv, norm) for kind in _HOOKS)
    return not watched and conv.weight.dtype in (torch.float32, torch.float64)
