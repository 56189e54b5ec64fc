"""Whether an exporter or a compiler watches."""
import torch


def is_exporting() -> bool:
    """Whether the computation that runs is being written down: by ``torch.jit.trace`` or ``torch.export``.

    ``torch.compile`` does not count: what it compiles may run whatever is fastest.
    """
    # before torch 2.7 there is no way to ask the second
    return torch.jit.is_tracing() or getattr(torch.compiler, 'is_exporting', bool)()


def is_recorded() -> bool:
    """Whether the computation becomes a graph: of ``torch.compile``, or because :func:`is_exporting`."""
    return torch.compiler.is_compiling() or is_exporting()
