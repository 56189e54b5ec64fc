"""Linear maps that run on oneDNN on CPUs."""
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.ops.exporting import is_recorded

# in place: no linear map needs its output again
ACTIVATIONS = {None: lambda x: x, 'gelu': F.gelu, 'relu': F.relu_}
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_linear_pointwise')


class Linear(nn.Linear):
    """``nn.Linear``, with the same numbers up to rounding, and an activation that may be computed along with it.

    torch takes MKL for float32 on CPUs and copies the bias into the output before. oneDNN, which torch brings along
    for its compiler, needs no copy, computes the activation on the way, and on processors of AMD is a tenth faster.
    """

    @classmethod
    def of(cls, linear: nn.Linear) -> 'Linear':
        """Return one with the parameters of another linear map."""
        made = cls(linear.in_features, linear.out_features, bias=linear.bias is not None, device='meta')
        made.weight, made.bias = linear.weight, linear.bias
        return made.train(linear.training)

    def forward(self, input: Float[Tensor, '*batch In'], activation: str | None = None) -> Float[Tensor, '*batch Out']:
        """Return the map's output after the activation: 'gelu' (exact), 'relu' or None."""
        return linear(input, self.weight, self.bias, activation=activation)


def activated(layer: nn.Linear, x: Float[Tensor, '*batch In'], activation: str) -> Float[Tensor, '*batch Out']:
    """Return a layer's output after the activation; of one of ours, or of what stands in its place."""
    return layer(x, activation) if type(layer) is Linear else ACTIVATIONS[activation](layer(x))


def linear(x: Float[Tensor, '*batch In'], weight: Float[Tensor, 'Out In'], bias: Float[Tensor, ' Out'] | None = None, *,
           activation: str | None = None) -> Float[Tensor, '*batch Out']:
    """Return ``x weight^T + bias`` after the activation: 'gelu' (exact), 'relu' or None."""
    if not goes_direct(x, weight):
        return ACTIVATIONS[activation](F.linear(x, weight, bias))
    if not torch.is_grad_enabled() or not any(part is not None and part.requires_grad for part in (x, weight, bias)):
        return _on_onednn(x, weight, bias, activation)
    if activation == 'gelu':  # its gradient needs what enters it
        return F.gelu(_OnOneDNN.apply(x, weight, bias, None))
    return _OnOneDNN.apply(x, weight, bias, activation)


def _on_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
    algorithm = 'none' if activation == 'gelu' else ''
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation or 'none', [], algorithm)


class _OnOneDNN(torch.autograd.Function):
    """A linear map with ReLU or without an activation; so is the gradient of its input."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
        found = _on_onednn(x.reshape(-1, weight.shape[1]), weight, bias, activation)
        # what a function gives must not be a view, or nobody could add to it in place
        found = torch.ops.aten._unsafe_view(found, (*x.shape[:-1], weight.shape[0]))
        ctx.save_for_backward(x, weight, found if activation else None)
        return found

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, found = ctx.saved_tensors
        if found is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, found, 0)
        rows = gradient.reshape(-1, weight.shape[0])
        of_x = linear(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        # a sum over tokens: here MKL is as fast
        of_weight = rows.t() @ x.reshape(-1, weight.shape[1]) if ctx.needs_input_grad[1] else None
        of_bias = rows.sum(0) if ctx.needs_input_grad[2] else None
        return of_x, of_weight, of_bias, None


def goes_direct(x: Tensor, weight: Tensor) -> bool:
    """Float32 on a CPU, and nobody who wants a graph, a count, other derivatives, or another precision looks on."""
    return (_HAS_ONEDNN and x.dtype == weight.dtype == torch.float32 and x.device.type == 'cpu' and x.numel() > 0
            and not torch.is_autocast_enabled('cpu') and not is_recorded()
            and not torch._C._len_torch_dispatch_stack() and not torch._C._are_functorch_transforms_active()
            and type(weight.data) is Tensor)
