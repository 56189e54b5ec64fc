"""The wrappers of a training with one optimizer or several."""
from mmengine.optim import OptimWrapper, OptimWrapperDict


def inner_wrappers(optim_wrapper: OptimWrapper | OptimWrapperDict) -> list[OptimWrapper]:
    """Return the wrapper, or those of an ``OptimWrapperDict``."""
    return list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
