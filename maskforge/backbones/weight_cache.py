"""The local cache of downloaded weights: torch hub's folder, checked by sha256, never half a file."""
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.logging import print_log

from maskforge.backbones.weight_source import WeightSource

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30


def cache_dir() -> Path:
    """``$TORCH_HOME/hub/checkpoints`` (``~/.cache/torch/hub/checkpoints``), as torch hub and torchvision use it."""
    return Path(torch.hub.get_dir()) / 'checkpoints'


def fetch(source: WeightSource) -> Path:
    """Return the local file of ``source``, downloading it once.

    In a distributed run one process per machine downloads, the others wait.

    Raises:
        FileNotFoundError: a local path that is not there.
        ConnectionError: the download failed; the message names URL, cache path and the option that turns it off.
        ValueError: the sha256 is not the published one; the file is not kept.
    """
    if source.url is None:
        if not Path(source.file_name).is_file():
            raise FileNotFoundError(f"checkpoint='{source.name}': there is no such file.")
        _check_digest(Path(source.file_name), source)
        return Path(source.file_name)
    target = cache_dir() / source.file_name
    if get_local_rank() == 0 and not target.is_file():
        _download(source, target)
    barrier()
    if not target.is_file():
        raise ConnectionError(f'{source.url} was not downloaded by the first process of this machine; see its log.')
    _check_digest(target, source)
    return target


def _download(source: WeightSource, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    print_log(f'Downloading {source.url} to {target}', logger='current')
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f'.{target.name}.')
    try:
        with os.fdopen(handle, 'wb') as out:
            _copy_url(source.url, out)
            os.fsync(out.fileno())
        _check_digest(Path(partial), source)
        os.replace(partial, target)
    except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as error:
        raise ConnectionError(
            f'{source.name}: cannot download {source.url} ({_reason(error)}). Without a network, put the file at '
            f'{target}, or train from random weights with --cfg-options model.backbone.init_cfg=None') from error
    finally:
        Path(partial).unlink(missing_ok=True)


def _copy_url(url: str, out) -> None:
    request = urllib.request.Request(url, headers={'User-Agent': 'maskforge'})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        expected, received = int(answer.headers.get('Content-Length') or 0), 0
        while chunk := answer.read(CHUNK_BYTES):
            out.write(chunk)
            received += len(chunk)
        if expected and received != expected:
            raise ConnectionError(f'the connection closed after {received} of {expected} bytes')
        out.flush()


def _reason(error: BaseException) -> str:
    return str(getattr(error, 'reason', None) or error)


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_digest(path: Path, source: WeightSource) -> None:
    if source.sha256 is None:
        return
    digest = sha256_of(path)
    if not digest.startswith(source.sha256.lower()):
        raise ValueError(f'{source.name}: the sha256 of {path} is {digest}, but {source.sha256} was expected. '
                         f'The file is damaged or is not the published one: delete it and try again.')
