"""The weight initialiser ``Pretrained``: MMEngine's name and arguments, with checks where it is silent."""
import hashlib
from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from torch import Tensor, nn

from maskforge.backbones.timm_weights import SCHEME, read_timm_weights
from maskforge.checkpoints import LoadReport, load_checkpoint, load_weights, unwrap
from maskforge.checkpoints.remote import is_remote, local_copy
from maskforge.registry import WEIGHT_INITIALIZERS

INFO, WARNING = 20, 30


@WEIGHT_INITIALIZERS.register_module()
class Pretrained:
    """Load a module's weights from a public name, a URL or a file.

    Args:
        checkpoint: ``torchvision://resnet50`` (``torchvision://resnet50.IMAGENET1K_V2``), ``timm://model.tag``,
            ``open-mmlab://detectron2/resnet50_caffe``, a URL, or a path. Downloads are kept in torch hub's cache.
        prefix: only the keys below this one, without it (``'backbone.'`` takes a detector's backbone).
        map_location: where the file's tensors are put first.
        sha256: digest of the file (or its first digits); by default the digits in its name, where it has some.
        min_matched: share of the module's tensors that must be found, in [0, 1].

    Raises:
        FileNotFoundError: no such file; or no network and nothing in the cache, with URL, cache path and remedy.
        ValueError: fewer tensors match than ``min_matched`` (what is missing is listed); another sha256.
    """

    def __init__(self, checkpoint: str, *, prefix: str | None = None, map_location: str = 'cpu',
                 sha256: str | None = None, min_matched: float = 0.5) -> None:
        self.checkpoint, self.prefix, self.map_location = checkpoint, prefix, map_location
        self.sha256, self.min_matched = sha256, min_matched

    def __call__(self, module: nn.Module) -> None:
        """Fill ``module`` in place and log what was missing, left over or of another shape."""
        try:
            state = self._read()
        except FileNotFoundError as error:
            if not (is_remote(self.checkpoint) or self.checkpoint.startswith(SCHEME)):
                raise
            raise FileNotFoundError(f'{self.checkpoint}: {error} To start from random weights instead, set '
                                    f'model.backbone.init_cfg=None (--cfg-options).') from error
        if self.prefix:
            state = _below(state, self.prefix, self.checkpoint)
        load_matching(module, state, name=self.checkpoint, min_matched=self.min_matched)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'Pretrained: load from {self.checkpoint}')

    def _read(self) -> dict[str, Tensor]:
        if self.checkpoint.startswith(SCHEME):
            return read_timm_weights(self.checkpoint.removeprefix(SCHEME))
        source = local_copy(self.checkpoint) if is_remote(self.checkpoint) else Path(self.checkpoint).expanduser()
        if self.sha256 and source.is_file():
            check_sha256(source, self.sha256)
        return unwrap(load_checkpoint(source, self.map_location))


def check_sha256(path: Path, wanted: str) -> None:
    """Compare a file with its published digest (or the first digits of it).

    Raises:
        ValueError: they differ.
    """
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(wanted.lower()):
        raise ValueError(f'the sha256 of {path} is {digest.hexdigest()}, but {wanted} was expected. The file is '
                         f'damaged or is not the published one: delete it and try again.')


def _below(state: dict[str, Tensor], prefix: str, name: str) -> dict[str, Tensor]:
    prefix = prefix if prefix.endswith('.') else f'{prefix}.'
    found = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    if not found:
        tops = sorted({key.split('.')[0] for key in state})
        raise ValueError(f"{name} has no keys below prefix='{prefix}'; its top-level parts are {', '.join(tops[:12])}.")
    return found


def load_matching(module: nn.Module, state: Mapping[str, Tensor], *, name: str,
                  min_matched: float = 0.5) -> LoadReport:
    """Copy the tensors whose key and shape agree into ``module``, and log what did not fit.

    Keys of a plain timm model are recognised in a :class:`TimmBackbone` (its feature extractor renames the first
    levels of the tree).

    Raises:
        ValueError: fewer than ``min_matched`` of the module's tensors were found.
    """
    try:
        report = load_weights(module, _rename_to(module.state_dict(), state), min_matched=min_matched,
                              setting='init_cfg.min_matched')
    except ValueError as error:
        raise ValueError(f'{name} does not fit {type(module).__name__}: {error} Check depth and prefix.') from error
    report.source = name
    # a classifier that is left over is what one expects of ImageNet weights
    print_log(report.summary(), logger='current', level=WARNING if report.missing or report.mismatched else INFO)
    return report


def _rename_to(targets: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State entries under the module's own key names, where they have one."""
    renamed = {}
    for key, value in state.items():
        parts = key.split('.')
        joined = ['_'.join(parts[:n]) + '.' + '.'.join(parts[n:]) for n in (2, 3) if len(parts) > n]
        candidates = (key, f'timm_model.{key}', *(f'timm_model.{j}' for j in joined), f'timm_model.model.{key}')
        renamed[next((candidate for candidate in candidates if candidate in targets), key)] = value
    return renamed
