"""Names of public weights (``torchvision://resnet50``, ``timm://...``, ``open-mmlab://...``) to where they lie."""
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.[a-z]+(?:\.tar)?$')
SCHEMES = ('torchvision://', 'timm://', 'open-mmlab://', 'http://', 'https://')


@dataclass(frozen=True)
class WeightSource:
    """Where weights come from.

    Attributes:
        name: as the user wrote it.
        url: where to download from; None for a local file.
        file_name: name in the cache, or the local path.
        sha256: hexadecimal digest or its first digits, None where nobody published one.
        timm_model: the timm model whose own reader understands the file, None for plain state dicts.
    """

    name: str
    url: str | None
    file_name: str
    sha256: str | None = None
    timm_model: str | None = None


def find_source(name: str, *, sha256: str | None = None) -> WeightSource:
    """Resolve what a config calls ``checkpoint``.

    Args:
        name: ``torchvision://resnet50`` (or ``torchvision://resnet50.IMAGENET1K_V2``), ``timm://model.tag``,
            ``open-mmlab://detectron2/resnet50_caffe``, a URL, or a path.
        sha256: digest to check against; by default the digits at the end of the file name, if it has some.

    Raises:
        ValueError: an unknown name or scheme; near names are listed.
    """
    scheme, _, rest = name.partition('://')
    if not rest:
        return WeightSource(name, None, str(Path(name).expanduser()), sha256)
    if scheme == 'timm':
        return _timm_source(name, rest, sha256)
    if scheme in ('torchvision', 'open-mmlab', 'http', 'https'):
        url = {'torchvision': _torchvision_url, 'open-mmlab': _openmmlab_url}.get(scheme, lambda _: name)(rest)
        return _source(name, url, sha256)
    raise ValueError(f"checkpoint='{name}': the scheme '{scheme}://' is not known; use {', '.join(SCHEMES)} or a path.")


def _source(name: str, url: str, sha256: str | None, **more) -> WeightSource:
    file_name = url.split('?')[0].rsplit('/', 1)[-1]
    found = HASH_IN_NAME.search(file_name)
    return WeightSource(name, url, file_name, sha256 or (found.group(1) if found else None), **more)


def _near(wanted: str, known: Iterable[str]) -> str:
    return ', '.join(difflib.get_close_matches(wanted, list(known), n=4, cutoff=0.4)) or 'none'


def _torchvision_url(name: str) -> str:
    from torchvision import models

    model, _, version = re.sub(r'[-:](?=[A-Z])', '.', name).partition('.')
    if model not in models.list_models():
        raise ValueError(f"checkpoint='torchvision://{name}': torchvision has no model '{model}'; "
                         f'near names: {_near(model, models.list_models())}.')
    # version 1 is what MMDetection's recipes were tuned with; get_model_weights().DEFAULT is often another one
    weights = models.get_model_weights(model)
    known = [entry.name for entry in weights]
    version = version or known[0]
    if version not in known:
        raise ValueError(f"checkpoint='torchvision://{name}': '{model}' has no weights '{version}', "
                         f'only {", ".join(known)}.')
    return weights[version].url


def _openmmlab_url(name: str) -> str:
    import mmengine

    table = mmengine.load(Path(mmengine.__file__).parent / 'hub' / 'openmmlab.json')
    if name not in table:
        raise ValueError(f"checkpoint='open-mmlab://{name}' is not in MMEngine's list; "
                         f'near names: {_near(name, table)}.')
    url = table[name]
    return url if url.startswith('http') else f'https://download.openmmlab.com/{url}'


def _timm_source(name: str, model: str, sha256: str | None) -> WeightSource:
    import timm

    cfg = timm.get_pretrained_cfg(model, allow_unregistered=False) if timm.is_model(model.split('.')[0]) else None
    if cfg is None:
        raise ValueError(f"checkpoint='{name}': timm has no model '{model}'; "
                         f'near names: {_near(model, timm.list_models(pretrained=True))}.')
    if not cfg.url and not cfg.hf_hub_id:
        raise ValueError(f"checkpoint='{name}': timm publishes no weights for '{model}'.")
    if cfg.url and (HASH_IN_NAME.search(cfg.url) or not cfg.hf_hub_id):
        return _source(name, cfg.url, sha256, timm_model=model)
    file_name = cfg.hf_hub_filename or 'model.safetensors'
    return WeightSource(name, f'https://huggingface.co/{cfg.hf_hub_id}/resolve/main/{file_name}',
                        f'{cfg.hf_hub_id.replace("/", "--")}--{file_name}', sha256, timm_model=model)
