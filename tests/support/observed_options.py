"""What an option changes: observers of a model on a batch, and relations between two observations."""
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from maskforge.registry import OPTIM_WRAPPER_CONSTRUCTORS


def losses(model, images, samples) -> dict[str, float]:
    """The terms of the loss, with fixed randomness."""
    torch.manual_seed(0)
    return {name: value.item() for name, value in model(images, samples, mode='loss').items()}


def raw(model, images, samples):
    return model(images, samples, mode='tensor')


def operations(model, images, samples) -> int:
    """Floating-point operations of a forward pass."""
    with FlopCounterMode(display=False) as counter:
        raw(model, images, samples)
    return counter.get_total_flops()


def kept_for_backward(model, images, samples) -> int:
    """Numbers that a training step keeps for its backward pass."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()) or tensor, lambda t: t):
        model.train()(images, samples, mode='loss')
    return sum(sizes)


def learning_parts(model, images, samples) -> frozenset[str]:
    """Top-level parts of the model that get a gradient."""
    found = model.train()(images, samples, mode='loss')
    sum(value for name, value in found.items() if name.startswith('loss')).backward()
    return frozenset(name.split('.')[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any())


def loss_of(name):
    """An observer of one term."""
    return lambda *case: losses(*case)[name]


def scaled(factor):
    """The second observation is the first times ``factor``."""
    return lambda first, second: second == pytest.approx(factor * first, rel=1e-5)


def near(first, second) -> bool:
    return first == pytest.approx(second, rel=1e-6)


def optim_wrapper(model, optimizer: dict, paramwise_cfg: dict | None = None, **wrapper):
    """Built as a run builds it."""
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get('DefaultOptimWrapperConstructor')
    return constructor(dict(type='OptimWrapper', optimizer=optimizer, **wrapper), paramwise_cfg)(model)
