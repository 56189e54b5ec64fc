"""Constants that the dynamo exporter would lose."""
import contextlib
from collections.abc import Iterator

from torch import nn

#: onnxscript's optimizer takes what ``numpy.isclose`` calls zero (below 1e-8) for zero and drops its addition
SMALLEST_KEPT = 1.1e-8


@contextlib.contextmanager
def kept_small_constants(module: nn.Module) -> Iterator[None]:
    """Raise every ``eps`` below :data:`SMALLEST_KEPT` to it inside the ``with`` block.

    Without it the linear attention of EfficientViT (``eps=1e-15``) divides 0 by 0 in the file where a batch is padded.
    """
    raised = [(part, part.eps) for part in module.modules()
              if isinstance(getattr(part, 'eps', None), float) and 0 < part.eps < SMALLEST_KEPT]
    for part, _ in raised:
        part.eps = SMALLEST_KEPT
    try:
        yield
    finally:
        for part, eps in raised:
            part.eps = eps
