"""One remark of the config checks: where, how bad, what to do."""
import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A defect in a config.

    Attributes:
        level: ``'error'`` stops training and testing, ``'warning'`` is printed.
        key: dotted path in the config, such as ``model.backbone.depth``.
        message: what is wrong and what to write instead.
        where: ``file:line`` where that is known.
    """

    level: str
    key: str
    message: str
    where: str = ''

    def __str__(self) -> str:
        place = f' ({self.where})' if self.where else ''
        return f'{self.level}: {self.key}: {self.message}{place}'


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``' did you mean depth?'``, or an empty string when nothing is near."""
    near = difflib.get_close_matches(str(name), [str(item) for item in known], n=2, cutoff=0.6)
    return f' did you mean {" or ".join(near)}?' if near else ''
