"""What is wrong with a record of an annotation file, and what follows from it."""
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.logging import print_log

#: 'fatal': the file contradicts itself; 'error': the record cannot be used as it stands; 'warning': it can, changed
SEVERITIES = ('fatal', 'error', 'warning')
DEFECT_MODES = ('raise', 'skip', 'list')


@dataclass(frozen=True)
class Defect:
    """One finding: which record, what is wrong with it, and how bad that is (one of ``SEVERITIES``)."""

    record: str
    problem: str
    severity: str = 'error'

    def __str__(self) -> str:
        return f'{self.record}: {self.problem}'


def summarize(defects: Sequence[Defect], *, shown: int = 3) -> str:
    """Join the first findings into one line and count the rest."""
    text = '; '.join(str(defect) for defect in defects[:shown])
    rest = len(defects) - shown
    return text if rest <= 0 else f'{text}; and {rest} more'


def settle(path: str, defects: Sequence[Defect], on_defect: str) -> None:
    """Raise, warn or stay silent about the findings of one file.

    Args:
        path: the file, named in every message.
        on_defect: 'raise' for fatal findings and errors; 'skip' warns of errors, whose records the caller leaves
            out, and raises for fatal ones; 'list' does nothing.

    Raises:
        ValueError: as ``on_defect`` says.
    """
    if on_defect not in DEFECT_MODES:
        raise ValueError(f'on_defect={on_defect!r}: allowed are {", ".join(DEFECT_MODES)}.')
    if on_defect == 'list':
        return
    fatal = [defect for defect in defects if defect.severity == 'fatal']
    errors = [defect for defect in defects if defect.severity == 'error']
    if fatal or (errors and on_defect == 'raise'):
        found = fatal + errors
        remedy = '' if fatal else "; on_defect='skip' leaves such records out"
        raise ValueError(f'{path}: {summarize(found)}. Correct the file ("maskforge check-data" lists every '
                         f'defect){remedy}.')
    for group, what in ((errors, 'left out'), ([d for d in defects if d.severity == 'warning'], 'odd')):
        if group:
            print_log(f'{path}: {len(group)} records {what}: {summarize(group)}.', 'current', logging.WARNING)
