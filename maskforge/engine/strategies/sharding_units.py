"""Which parts of a model are sharded each by itself."""
import difflib
from collections import defaultdict
from collections.abc import Sequence

from torch import nn

from maskforge.layers.name_patterns import name_matches

#: where a model without ``sharded_parts`` may have blocks
DEFAULT_PARTS = ('backbone',)


def automatic_units(model: nn.Module, *, min_params: int) -> list[str]:
    """Names of the blocks of which a model is a row: innermost members of lists with others of their class.

    Gathering is a step that all processes take together, so a block must run the same number of times in all of them,
    whatever its data. The model says where that holds: ``sharded_parts``, dotted names of its parts.

    Args:
        min_params: smaller blocks stay with what is around them: each gathering costs time of its own.
    """
    owners = _owners(model)
    parts = tuple(f'{part}.' for part in getattr(model, 'sharded_parts', DEFAULT_PARTS))
    found: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or not f'{name}.'.startswith(parts):
            continue
        classes = [type(child) for child in module]
        for key, child in module.named_children():
            full = f'{name}.{key}' if name else key
            if classes.count(type(child)) > 1 and _count(child) >= min_params and not _shared(child, full, owners):
                found.append(full)
    return [name for name in found if not any(other.startswith(f'{name}.') for other in found)]


def named_units(model: nn.Module, given: Sequence[str], option: str) -> list[str]:
    """Names of the modules that patterns of names and names of classes mean.

    Args:
        given: dotted names with ``*`` and ``?``, or class names.
        option: what the error calls them.

    Raises:
        ValueError: an entry means no module, or one that shares parameters with others.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    owners = _owners(model)
    found: dict[str, None] = {}
    for entry in [given] if isinstance(given, str) else given:
        names = [name for name, module in modules.items()
                 if name_matches(name, [entry]) or entry in {cls.__name__ for cls in type(module).__mro__}]
        names = [name for name in names if any(True for _ in modules[name].parameters())]
        if not names:
            known = [*modules, *{type(module).__name__ for module in modules.values()}]
            near = difflib.get_close_matches(entry, known, n=3) or list(modules)[:3]
            raise ValueError(f"{option}: '{entry}' is neither a module nor a class of modules with parameters of "
                             f'{type(model).__name__}; near ones: {", ".join(near)}.')
        for name in names:
            others = _shared(modules[name], name, owners)
            if others:
                raise ValueError(f"{option}: '{name}' shares parameters with {others[0]}; name a module that holds "
                                 'both.')
        found.update(dict.fromkeys(names))
    return list(found)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _owners(model: nn.Module) -> dict[int, list[str]]:
    """All names of every parameter: one that two modules share, or a module that lies in two places, has several."""
    owners: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners[id(parameter)].append(name)
    return owners


def _shared(module: nn.Module, name: str, owners: dict[int, list[str]]) -> list[str]:
    """Names of the module's parameters that lie outside of it."""
    return [owner for parameter in module.parameters() for owner in owners[id(parameter)]
            if not owner.startswith(f'{name}.')]
