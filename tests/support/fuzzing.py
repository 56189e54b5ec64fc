"""What every fuzz test asks: it works, or our error names the file, in time."""
import os
import re
import traceback
from pathlib import Path

from hypothesis import HealthCheck, settings

import maskforge
from maskforge.datasets.deadline import deadline

PACKAGE = str(Path(maskforge.__file__).parent)
#: mutations of each kind of file; tools/stress/fuzz.py asks for more
EXAMPLES = int(os.environ.get('MASKFORGE_FUZZ_EXAMPLES', '6'))
SECONDS = 20
# a record, line or key: a number, a quoted name, or where the text breaks off
_PLACE = re.compile(r"\d|'[^']+'|\bkey|\bempty|\btop level|\bno \w+|\bencoding|UTF-8")

fuzz = settings(max_examples=EXAMPLES, deadline=None, derandomize='MASKFORGE_FUZZ_EXAMPLES' not in os.environ,
                database=None, suppress_health_check=list(HealthCheck))


def works_or_tells(action, *names: str) -> str | None:
    """Run ``action``; an error must be ours, name one of the files and say where.

    Returns:
        The message of the error; None if it works.

    Raises:
        AssertionError: it is none of ours, or does not say enough, or took too long.
    """
    try:
        with deadline(SECONDS):
            action()
        return None
    except Exception as error:
        return _judge(error, names)


def _judge(error: Exception, names: tuple[str, ...]) -> str:
    frames, text = traceback.extract_tb(error.__traceback__), str(error)
    where = f'{type(error).__name__}: {text[:500]}\n  raised in {frames[-1].filename}:{frames[-1].lineno}'
    ours = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
    if ours:
        where += f', through {Path(ours[-1].filename).name}:{ours[-1].lineno}'
    if isinstance(error, TimeoutError):
        raise AssertionError(f'it hangs: {where}') from error
    if not isinstance(error, (ValueError, OSError, KeyError)) or type(error).__module__ not in (
            'builtins', *(name for name in [type(error).__module__] if name.startswith('maskforge'))):
        raise AssertionError(f'an error of another kind: {where}') from error
    if isinstance(error, UnicodeError) or not frames[-1].filename.startswith(PACKAGE):
        raise AssertionError(f'an error from inside a library: {where}') from error
    if not any(name in text for name in names):
        raise AssertionError(f'the error names none of {", ".join(names)}: {where}') from error
    rest = text
    for name in names:
        rest = rest.replace(name, '')
    if not isinstance(error, OSError) and not _PLACE.search(rest):
        raise AssertionError(f'the error does not say where: {where}') from error
    return text
