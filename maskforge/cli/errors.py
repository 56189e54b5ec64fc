"""One line for what a user can put right; a traceback for what is our mistake."""
import argparse
import atexit
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

_ERRORS = (ValueError, KeyError, OSError, ImportError, TypeError, RuntimeError)
_PACKAGE = str(Path(__file__).resolve().parents[1])


def run_verb(parser: argparse.ArgumentParser, action: Callable[[argparse.Namespace], int | None],
             argv: list[str] | None) -> int:
    """Parse ``argv``, run ``action`` and return the exit code.

    An error that a user caused is printed as ``maskforge: error: ...`` and gives 2; ``--debug`` or
    ``MASKFORGE_DEBUG=1`` shows its traceback. Every other exception passes through.
    """
    parser.add_argument('--debug', action='store_true', help='show the traceback of errors (also MASKFORGE_DEBUG=1)')
    args = parser.parse_args(argv)
    try:
        with _key_of(args):
            code = action(args) or 0
        _finish_group(code)
        return code
    except KeyboardInterrupt:
        print('maskforge: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:  # `maskforge config --list | head`: whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _ERRORS as error:
        if args.debug or os.environ.get('MASKFORGE_DEBUG', '0') not in ('', '0') or not users_fault(error):
            raise
        print(f'maskforge: error: {one_line(error)}{_rank()}', file=sys.stderr, flush=True)
        _leave_group(2)
        return 2


@contextlib.contextmanager
def _key_of(args: argparse.Namespace) -> Iterator[None]:
    """Within, the key of ``--key-file`` is in effect, where the verb has that flag."""
    if getattr(args, 'key_file', None) is None:
        yield
        return
    from maskforge.checkpoints import read_key_file, set_encryption_key
    set_encryption_key(read_key_file(args.key_file))
    try:
        yield
    finally:
        set_encryption_key(None)


def users_fault(error: BaseException) -> bool:
    """Whether the error was raised, with words, by our code or by the framework's checks; or names a file."""
    if isinstance(error, OSError):
        return error.filename is not None or _raised_in(error, (_PACKAGE,))
    if isinstance(error, TypeError):
        return _raised_in(error, (os.path.join(_PACKAGE, 'config'),))
    if isinstance(error, RuntimeError):
        return _raised_in(error, (_PACKAGE,))
    if ' ' not in str(error):  # a bare key or number is what Python raises, not what we write
        return False
    return _raised_in(error, (_PACKAGE, f'{os.sep}mmengine{os.sep}', f'{os.sep}mmcv{os.sep}'))


def one_line(error: BaseException) -> str:
    """The message without line breaks; ``KeyError`` without its quotes."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return ' '.join(text.split()) or type(error).__name__


def _raised_in(error: BaseException, places: tuple[str, ...]) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(place in frames[-1].filename for place in places)


def _rank() -> str:
    world = os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', '1'))
    rank = os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0'))
    return f' [rank {rank}]' if world != '1' else ''


def _leave_group(code: int) -> None:
    """End at once where other processes may wait in a collective: a normal exit would wait for them for ever."""
    distributed = sys.modules.get('torch.distributed')
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    if distributed.get_world_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _finish_group(code: int) -> None:
    """End the processes of a group together.

    Ending one by one, through the interpreter's teardown, now and then aborts in gloo's threads after all work is done.
    """
    distributed = sys.modules.get('torch.distributed')
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    if distributed.get_world_size() > 1:
        distributed.barrier()
        atexit._run_exitfuncs()  # logs, loader workers and the process group itself
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
