"""Checkpoints by name or address: where they lie on the net, and their copy in the local cache."""
import contextlib
import difflib
import hashlib
import os
import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log

from maskforge.formats.atomic_file import write_atomically

_SCHEMES = ('http://', 'https://', 'torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'file://')
# torch hub's habit: name-0a1b2c3d.pth ends with the first digits of the file's sha256
_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.[^.]+$')


def is_remote(source: str) -> bool:
    """Whether ``source`` is an address or a name of a model zoo rather than a path."""
    return source.startswith(_SCHEMES)


def cache_directory() -> Path:
    """Folder of downloaded weights: torch hub's, so that weights fetched by other tools are found (``TORCH_HOME``)."""
    return Path(torch.hub.get_dir()) / 'checkpoints'


def local_copy(source: str, *, name: str | None = None) -> Path:
    """Return the cached file of an address, fetching it first where needed.

    Args:
        source: an address or a name of a model zoo.
        name: of the file in the cache; by default the last part of the address.

    Raises:
        FileNotFoundError: it is not in the cache and cannot be fetched; the message has the address and the path
            at which to put a copy.
        ValueError: the name is unknown, or the content does not have the sha256 in its name.
    """
    url = resolve(source)
    path = cache_directory() / (name or Path(urlparse(url).path).name)
    with _one_process_at_a_time(path):
        if path.is_file():
            if _has_its_hash(path):
                return path
            print_log(f'{path} does not have the sha256 in its name; it is fetched again', 'current', 30)
        _download(url, path)
    return path


def resolve(source: str) -> str:
    """Turn ``torchvision://resnet50`` and its like into an address; addresses pass."""
    scheme, _, name = source.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        return _torchvision_url(name)
    if scheme in ('open-mmlab', 'openmmlab'):
        return _openmmlab_url(name)
    return source


def _torchvision_url(name: str) -> str:
    import torchvision.models as zoo
    model, _, tag = name.replace('_Weights', '').partition('.')
    known = zoo.list_models()
    by_lower = {entry.lower(): entry for entry in known}
    if model.lower() not in by_lower:
        near = difflib.get_close_matches(model, known, n=3) or ['resnet50']
        raise ValueError(f"'torchvision://{name}' is not a model of torchvision; did you mean {' or '.join(near)}?")
    weights = zoo.get_model_weights(by_lower[model.lower()])
    # without a tag MMEngine means the first published weights, on which all detectors of the field were trained
    members = {member.name.lower(): member for member in weights}
    wanted = tag.lower() or next(iter(members))
    if wanted == 'default':
        return weights.DEFAULT.url
    if wanted not in members:
        raise ValueError(f"'torchvision://{name}': {model} has the weights {', '.join(members)}")
    return members[wanted].url


def _openmmlab_url(name: str) -> str:
    from mmengine.runner.checkpoint import get_external_models
    table = get_external_models()
    if name not in table:
        near = difflib.get_close_matches(name, table, n=3)
        hint = f'; did you mean {" or ".join(near)}?' if near else '.'
        raise ValueError(f"'open-mmlab://{name}' is not in OpenMMLab's list of backbones{hint}")
    return table[name]


def _download(url: str, path: Path) -> None:
    print_log(f'fetching {url} to {path}', 'current')
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            write_atomically(path, lambda stream: _copy_checked(answer, stream, path.name, url))
    except (OSError, TimeoutError) as error:
        raise FileNotFoundError(
            f'{url} could not be fetched ({error}), and there is no copy at {path}. Without network: fetch it on '
            f'another machine and put it there, or set TORCH_HOME to a folder that has it under hub/checkpoints/, '
            f'or give a local file instead of the address.') from error


def _copy_checked(answer, stream, name: str, url: str) -> None:
    digest = hashlib.sha256()

    class Tee:
        def write(self, block: bytes) -> None:
            digest.update(block)
            stream.write(block)

    shutil.copyfileobj(answer, Tee(), 1 << 20)
    wanted = _HASH_IN_NAME.search(name)
    if wanted and not digest.hexdigest().startswith(wanted.group(1)):
        raise ValueError(f'{url}: the content has sha256 {digest.hexdigest()[:12]}..., its name says '
                         f'{wanted.group(1)}. Nothing was stored; the server sent something else.')


def _has_its_hash(path: Path) -> bool:
    wanted = _HASH_IN_NAME.search(path.name)
    if not wanted:
        return True
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest().startswith(wanted.group(1))


@contextlib.contextmanager
def _one_process_at_a_time(path: Path) -> Iterator[None]:
    """Let the processes of one machine wait for the one that fetches, instead of fetching side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: the atomic rename alone keeps the file whole
        yield
        return
    with open(path.parent / f'.{path.name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(lock.name)
