"""DistributedDataParallel for models with MMEngine's steps, without its warning on today's PyTorch."""
import inspect

from mmengine.model import MMDistributedDataParallel as _MMDistributedDataParallel
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskforge.registry import MODEL_WRAPPERS

# the argument was renamed after torch 2.12; the old name warns at every start
_RENAMED = 'forward_sync_buffers' in inspect.signature(DistributedDataParallel.__init__).parameters


@MODEL_WRAPPERS.register_module()
class MMDistributedDataParallel(_MMDistributedDataParallel):
    """MMEngine's wrapper; ``broadcast_buffers`` is passed on under the name that the installed PyTorch knows.

    Args:
        module: the model, on its device.
        detect_anomalous_params: log parameters without gradient at every step (slow; for debugging).
        broadcast_buffers: copy rank 0's buffers to all at every step.
        options: of ``torch.nn.parallel.DistributedDataParallel``.
    """

    def __init__(self, module: nn.Module, detect_anomalous_params: bool = False, *, broadcast_buffers: bool = False,
                 **options):
        options['forward_sync_buffers' if _RENAMED else 'broadcast_buffers'] = broadcast_buffers
        super().__init__(module, detect_anomalous_params, **options)
