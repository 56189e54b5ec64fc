"""What layouts change in tensors rather than in names: joined projections, counters of batch norms."""
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
COUNTER = 'num_batches_tracked'


def join_qkv(state_dict: State, part: str, whole: str) -> dict[str, Tensor]:
    """Return the tensors with query, key and value projections as one of three times the rows.

    Args:
        part: pattern of a projection's whole name. Group 1: what is before, 2: 'q', 'k' or 'v', 3: what is after.
        whole: template of the new name with ``{0}`` (before) and ``{1}`` (after).

    Raises:
        ValueError: one of the three is not there.
    """
    joined = {}
    for name, value in state_dict.items():
        match = re.fullmatch(part, name)
        if match is None:
            joined[name] = value
        elif whole.format(match[1], match[3]) not in joined:
            names = [f'{name[:match.start(2)]}{letter}{name[match.end(2):]}' for letter in 'qkv']
            missing = [wanted for wanted in names if wanted not in state_dict]
            if missing:
                raise ValueError(f'{missing[0]} is not in the file, although {name} is.')
            joined[whole.format(match[1], match[3])] = torch.cat([state_dict[wanted] for wanted in names])
    return joined


def split_qkv(state_dict: State, whole: str, part: str) -> dict[str, Tensor]:
    """Return the tensors with joined projections apart: the inverse of :func:`join_qkv`.

    Args:
        whole: pattern of a joined projection's whole name, group 1: what is before, 2: what is after.
        part: template of the new names with ``{0}`` (before), ``{1}`` ('q', 'k', 'v') and ``{2}`` (after).
    """
    split = {}
    for name, value in state_dict.items():
        match = re.fullmatch(whole, name)
        if match is None:
            split[name] = value
        else:
            split.update({part.format(match[1], letter, match[2]): rows
                          for letter, rows in zip('qkv', value.chunk(3))})
    return split


def with_counters(state_dict: State) -> dict[str, Tensor]:
    """Return the tensors with a counter of batches, 0, for every running mean that has none."""
    counters = {name.replace('running_mean', COUNTER): torch.zeros((), dtype=torch.long)
                for name in state_dict if name.endswith('running_mean')}
    return {**counters, **state_dict}


def without_foreign_counters(state_dict: State, model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors (our names) without the counters of batches that ``model`` does not keep."""
    own = model.state_dict()
    return {name: value for name, value in state_dict.items() if not name.endswith(COUNTER) or name in own}
