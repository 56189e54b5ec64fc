"""Weights that timm publishes: where they lie, and reading them by the model that knows their names."""
import difflib

from torch import Tensor, nn

from maskforge.checkpoints.remote import local_copy

SCHEME = 'timm://'
#: where the adapter keeps timm's network
BODY = 'timm_model.'


def timm_address(model: str) -> tuple[str, str]:
    """Address and cache name of a timm model's weights.

    Args:
        model: timm's name, with or without tag (``hiera_tiny_224.mae``).

    Raises:
        ValueError: timm has no such model (near names are listed), or publishes no weights for it.
    """
    import timm

    cfg = timm.get_pretrained_cfg(model, allow_unregistered=False) if timm.is_model(model.split('.')[0]) else None
    if cfg is None:
        near = difflib.get_close_matches(model, timm.list_models(pretrained=True), n=4, cutoff=0.4)
        raise ValueError(f"checkpoint='{SCHEME}{model}': timm {timm.__version__} has no model '{model}'; "
                         f'near names: {", ".join(near) or "none"}.')
    if not cfg.url and not cfg.hf_hub_id:
        raise ValueError(f"checkpoint='{SCHEME}{model}': timm publishes no weights for '{model}'.")
    if cfg.url:  # these file names end with the first digits of their sha256
        return cfg.url, cfg.url.rsplit('/', 1)[-1]
    file_name = cfg.hf_hub_filename or 'model.safetensors'
    address = f'https://huggingface.co/{cfg.hf_hub_id}/resolve/main/{file_name}'
    return address, f'{cfg.hf_hub_id.replace("/", "--")}--{file_name}'


def read_timm_weights(model: str) -> dict[str, Tensor]:
    """Fetch (or find in the cache) and read the weights of a timm model, under the model's own names.

    timm renames the entries of many published files; its own model is the only place that knows how.
    """
    import timm

    address, name = timm_address(model)
    path = local_copy(address, name=name)
    return timm.create_model(model, pretrained=True, pretrained_cfg_overlay=dict(file=str(path))).state_dict()


def with_body(name: str, backbone: nn.Module) -> str:
    """Return our name of a backbone's tensor, which is one level deeper for timm's networks than in other libraries."""
    return name if name.startswith(BODY) or not hasattr(backbone, 'timm_model') else BODY + name


def without_body(name: str, backbone: nn.Module) -> str:
    """Return the name that other libraries have: the inverse of :func:`with_body`."""
    return name.removeprefix(BODY) if hasattr(backbone, 'timm_model') else name
