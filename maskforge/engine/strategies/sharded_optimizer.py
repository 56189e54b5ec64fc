"""An optimizer whose state is dealt out to the processes (ZeRO stage 1; Rajbhandari et al. 2020, section 5.1)."""
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as torch_dist
from torch import Tensor
from torch.optim import Optimizer

BUCKET_BYTES = 32 * 2**20


class ShardedOptimizer(Optimizer):
    """Lets an optimizer update this process's share of the parameters, then sends the new values to all.

    ``param_groups`` are those of the whole model, so that schedules, clipping and loss scaling work as ever. Updates
    are element by element the optimizer's own, whatever its class; one that mixes parameters (a norm over all of
    them) would see its share alone.

    Args:
        optimizer: built for all parameters, before its first step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.inner = optimizer
        self.rank, world_size = torch_dist.get_rank(), torch_dist.get_world_size()
        self.parameters = [parameter for group in self.param_groups for parameter in group['params']]
        self.owners = deal_out([parameter.numel() for parameter in self.parameters], world_size)
        owner_of = {id(parameter): owner for parameter, owner in zip(self.parameters, self.owners)}
        shares = [[parameter for parameter in group['params'] if owner_of[id(parameter)] == self.rank]
                  for group in self.param_groups]
        self._used = [number for number, share in enumerate(shares) if share]
        self.inner.param_groups = [dict(self.param_groups[number], params=shares[number]) for number in self._used]
        self.state = self.inner.state
        self._own_indices = [index for number in self._used for index in self._indices(number)]

    def _indices(self, number: int) -> list[int]:
        """Places, counted over all groups, of this process's parameters in a group."""
        first = sum(len(group['params']) for group in self.param_groups[:number])
        places = range(first, first + len(self.param_groups[number]['params']))
        return [place for place in places if self.owners[place] == self.rank]

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        """Update the own share; take the others'. All processes must call this.

        Raises:
            ValueError: a closure is given.
        """
        if closure is not None:
            raise ValueError('a sharded optimizer takes no closure: evaluate the loss before the step.')
        self._follow_groups()
        if self.inner.param_groups:
            self.inner.step()
        self._share()

    def _follow_groups(self) -> None:
        """Give the optimizer the settings that schedules have changed."""
        for group, number in zip(self.inner.param_groups, self._used):
            group.update({key: value for key, value in self.param_groups[number].items() if key != 'params'})

    def _share(self) -> None:
        for owner in sorted(set(self.owners)):
            trained = [parameter.data for parameter, one in zip(self.parameters, self.owners)
                       if one == owner and parameter.requires_grad]
            for bucket in _buckets(trained):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                torch_dist.broadcast(flat, owner)
                if owner != self.rank:
                    for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket])):
                        tensor.copy_(part.view_as(tensor))

    # state -----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state of the whole optimizer on rank 0, the own share elsewhere. All processes must call this."""
        own = self.inner.state_dict()['state']
        state = {self._own_indices[place]: entry for place, entry in own.items()}
        return dict(state=self._gather(state), param_groups=super().state_dict()['param_groups'])

    def _gather(self, state: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        everyone: list[Any] = [None] * torch_dist.get_world_size()
        small = {index: {key: _outline(value) for key, value in entry.items()} for index, entry in state.items()}
        torch_dist.all_gather_object(everyone, small)
        whole: dict[int, dict[str, Any]] = {}
        for owner, entries in enumerate(everyone):
            for index, entry in entries.items():
                for key, value in entry.items():
                    found = self._fetch(state.get(index, {}).get(key), value, index, owner)
                    whole.setdefault(index, {})[key] = found
        # in the order in which one process would have made them
        return dict(sorted(whole.items())) if self.rank == 0 else state

    def _fetch(self, own: Any, outline: Any, index: int, owner: int) -> Any:
        """One entry of the state from its owner; large tensors one at a time, kept in the host's memory."""
        if not isinstance(outline, _Outline):
            return outline
        device = self.parameters[index].device
        tensor = own if owner == self.rank else torch.empty(outline.shape, dtype=outline.dtype, device=device)
        torch_dist.broadcast(tensor.contiguous() if owner == self.rank else tensor, owner)
        return tensor.cpu() if self.rank == 0 else None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the own share of a whole optimizer's state, written by any strategy."""
        for group, stored in zip(self.param_groups, state_dict['param_groups']):
            group.update({key: value for key, value in stored.items() if key not in ('params', 'param_names')})
        state = {place: state_dict['state'][index] for place, index in enumerate(self._own_indices)
                 if index in state_dict['state']}
        self._follow_groups()
        self.inner.load_state_dict(dict(state=state, param_groups=self.inner.state_dict()['param_groups']))
        self.state = self.inner.state


class _Outline:
    """Shape and kind of a tensor that is sent by itself."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.dtype = tensor.shape, tensor.dtype


def _outline(value: Any) -> Any:
    # counters of steps lie in the host's memory, which NCCL cannot send
    return _Outline(value) if isinstance(value, Tensor) and value.dim() else value


def deal_out(sizes: list[int], shares: int) -> list[int]:
    """Return for each size the share that it goes to: the largest first, each to the share that is smallest then."""
    totals, owners = [0] * shares, [0] * len(sizes)
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        owners[place] = totals.index(min(totals))
        totals[owners[place]] += max(sizes[place], 1)
    return owners


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in runs of one dtype of at most ``BUCKET_BYTES``."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        extra = tensor.numel() * tensor.element_size()
        if bucket and (tensor.dtype != bucket[0].dtype or size + extra > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += extra
    if bucket:
        yield bucket
