"""Memories that are kept object by object and used together."""
from collections.abc import Sequence

import torch

from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.structures import FrameMemory, ImageFeatures, MaskOutput
from maskforge.models.sam2.tracking import remember_frame


class MemoryKeeper:
    """Writes memories to the banks of single objects, and puts banks together.

    Args:
        dtype: spatial memories are kept in it, by its name or as ``torch.dtype``; None as computed.
        device: and kept there; None where they were computed.

    Raises:
        ValueError: no floating-point type.
    """

    def __init__(self, dtype: str | torch.dtype | None, device: str | torch.device | None) -> None:
        kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if dtype is not None and not (isinstance(kind, torch.dtype) and kind.is_floating_point):
            raise ValueError(f"memory_dtype={dtype!r} is not one of 'bfloat16', 'float16', 'float32'.")
        self.dtype, self.device = kind, device

    def remember(self, network: SAM2Network, banks: Sequence[MemoryBank], frame: int, features: ImageFeatures,
                 output: MaskOutput, *, conditioning: bool, from_prompts: bool) -> None:
        """Encode the memory of N objects on a frame and store a row in each bank."""
        memory = remember_frame(network, features, output, MemoryBank(), frame, conditioning=conditioning,
                                from_points=from_prompts)
        spatial = memory.spatial.to(device=self.device, dtype=self.dtype)
        for row, bank in enumerate(banks):
            kept = FrameMemory(spatial[row:row + 1], memory.position, memory.pointers[row:row + 1])
            bank.store(frame, kept, conditioning=conditioning)

    def together(self, network: SAM2Network, banks: Sequence[MemoryBank], frame: int, *, num_frames: int,
                 reverse: bool) -> MemoryBank:
        """Return one bank with a row per bank: of the frames that ``frame`` looks at, which all banks have."""
        seen = banks[0].select(frame, num_frames=num_frames, settings=network.settings, reverse=reverse)
        wanted = {id(memory) for _, memory in (*seen.spatial, *seen.pointers)}
        joined = MemoryBank()
        for name in ('conditioning', 'others'):
            for place, memory in getattr(banks[0], name).items():
                if id(memory) in wanted:
                    getattr(joined, name)[place] = _cat([getattr(bank, name)[place] for bank in banks])
        return joined

    def trim(self, network: SAM2Network, bank: MemoryBank, frame: int, *, reverse: bool, history: int | None) -> None:
        """Forget what no frame to come, nor one of ``history`` frames back, can look at; None forgets nothing."""
        if history is not None:
            bank.trim(frame + (history if reverse else -history), settings=network.settings, reverse=reverse)


def _cat(memories: Sequence[FrameMemory]) -> FrameMemory:
    pointers = torch.cat([memory.pointers for memory in memories])
    spatial = torch.cat([memory.spatial for memory in memories])
    return FrameMemory(spatial.to(pointers), memories[0].position.to(pointers.device), pointers)
