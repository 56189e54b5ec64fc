"""Any timm model that knows how to return feature levels, behind the backbones' contract."""
import difflib
import inspect
from collections.abc import Sequence

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.registry import MODELS, SCOPE

# Detection images have many sizes; these timm switches turn a model's fixed-size check off where it has one.
ANY_SIZE_SWITCHES = {'strict_img_size': False, 'dynamic_img_size': True}


@MODELS.register_module(name=['TimmBackbone', 'TIMMBackbone'])
class TimmBackbone(BaseModule):
    """Image to feature levels by ``timm.create_model(model_name, features_only=True)``.

    Args:
        model_name: timm's name, with or without the weights' tag (``'swin_tiny_patch4_window7_224.ms_in1k'``).
        pretrained: the model's own weights (cached, checked); the same as ``checkpoint='timm://<model_name>'``.
        checkpoint: path, URL, ``timm://name`` or ``torchvision://name`` to take the weights from.
        out_indices: levels that are returned, 0-based in timm's counting; None returns all of them.
        frozen: no gradient and evaluation mode for the whole backbone.
        frozen_prefixes: the same for the parameters and modules whose name starts with one of these.
        norm_eval: keep batch statistics fixed while training.
        init_cfg: MMEngine's initialiser; not together with ``pretrained`` or ``checkpoint``.
        **kwargs: handed to the timm model (``img_size``, ``drop_path_rate``, ``window_size`` ...).

    Images are padded with zeros to whole patches, where a model has patches. A model that works at the size of its
    training alone raises an error at others; for GC-ViT there is :class:`~maskforge.backbones.gcvit.GCViT`.

    Attributes:
        out_channels, strides: channels and stride in pixels of the returned levels.

    Raises:
        ValueError: an unknown name (near ones are listed), a model without feature levels, levels it does not have,
            a plain ViT asked for several levels (all its levels have one stride); images of a size that the model
            cannot take.
    """

    def __init__(self, model_name: str, *, pretrained: bool = False, checkpoint: str | None = None,
                 out_indices: Sequence[int] | None = None, frozen: bool = False,
                 frozen_prefixes: Sequence[str] = (), norm_eval: bool = False,
                 init_cfg: dict | None = None, **kwargs) -> None:
        super().__init__(_init_cfg(model_name, pretrained, checkpoint, init_cfg))
        self.timm_model = _create(model_name, out_indices, kwargs)
        info = self.timm_model.feature_info
        self.model_name = model_name
        self.out_channels, self.strides = tuple(info.channels()), tuple(info.reduction())
        self.frozen, self.frozen_prefixes, self.norm_eval = frozen, tuple(frozen_prefixes), norm_eval
        self._channels_last = str(getattr(self.timm_model, 'output_fmt', 'NCHW')).endswith('NHWC')
        self._patch, self._only_size = _patch_size(self.timm_model), _only_size(model_name, kwargs)
        _check_strides(model_name, self.strides)
        _check_prefixes(self.timm_model, self.frozen_prefixes)
        self._freeze()

    def _freeze(self) -> None:
        prefixes = ('',) if self.frozen else self.frozen_prefixes
        if not prefixes:
            return
        for name, parameter in self.timm_model.named_parameters():
            if name.startswith(prefixes):
                parameter.requires_grad_(False)
        for name, module in self.timm_model.named_modules():
            if name.startswith(prefixes) and (name or self.frozen):
                module.eval()

    def train(self, mode: bool = True) -> 'TimmBackbone':
        """Switch the mode; what is frozen and, with ``norm_eval``, all batch norms stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Load what ``pretrained``, ``checkpoint`` or ``init_cfg`` name; timm has initialised everything else."""
        # MMEngine looks initialisers up in the current scope; outside a Runner there is none, and ours would be missed
        with DefaultScope.overwrite_default_scope(None if DefaultScope.get_current_instance() else SCOPE):
            super().init_weights()

    def forward(self, images: Float[Tensor, 'N C H W']) -> tuple[Float[Tensor, 'N _ _ _'], ...]:
        """Return the levels: (N, out_channels[i], ~H / strides[i], ~W / strides[i])."""
        height, width = self._patch
        if height * width > 1:
            images = F.pad(images, (0, -images.shape[-1] % width, 0, -images.shape[-2] % height))
        levels = self._run(images)
        if self._channels_last:
            levels = [level.permute(0, 3, 1, 2).contiguous() for level in levels]
        return tuple(levels)

    def _run(self, images: Float[Tensor, 'N C H W']) -> list[Tensor]:
        try:
            return self.timm_model(images)
        except (AssertionError, RuntimeError) as error:
            size = tuple(images.shape[-2:])
            if isinstance(error, torch.OutOfMemoryError) or self._only_size in (None, size):
                raise
            raise ValueError(
                f"TimmBackbone: timm's '{self.model_name}' is made for images of {self._only_size} and failed at "
                f"{size} ({error}). Resize and pad to its size, or take a backbone for any size: type='GCViT', "
                'SwinTransformer or ResNet, or a convolutional model of timm.') from error


def _init_cfg(model_name: str, pretrained: bool, checkpoint: str | None, init_cfg: dict | None) -> dict | None:
    sources = dict(pretrained=pretrained, checkpoint=checkpoint, init_cfg=init_cfg)
    given = [name for name, value in sources.items() if value]
    if len(given) > 1:
        raise ValueError(f'TimmBackbone: {" and ".join(given)} both name the weights to start from; keep one of them.')
    if pretrained or checkpoint:
        return dict(type='Pretrained', checkpoint=checkpoint or f'timm://{model_name}')
    return init_cfg


def _create(model_name: str, out_indices: Sequence[int] | None, kwargs: dict) -> nn.Module:
    import timm  # half a second: paid by those who use it

    architecture = model_name.split('.')[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=5, cutoff=0.4)
        raise ValueError(f"TimmBackbone: timm {timm.__version__} has no model '{model_name}'; near names: "
                         f'{", ".join(near) or "none"}. timm.list_models() lists all of them.')
    kwargs = {**_any_size(architecture, kwargs), **kwargs}
    if out_indices is not None:
        kwargs['out_indices'] = tuple(out_indices)
    try:
        return timm.create_model(model_name, pretrained=False, features_only=True, **kwargs)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        raise ValueError(f"TimmBackbone: timm's '{model_name}' cannot return feature levels ({error}).") from error
    except (IndexError, AssertionError, KeyError) as error:
        raise ValueError(f"TimmBackbone: '{model_name}' does not have the levels out_indices={out_indices} "
                         f'({type(error).__name__}: {error}).') from error


def _any_size(architecture: str, kwargs: dict) -> dict:
    """The switches of ANY_SIZE_SWITCHES that this model's class has, unless the user fixed a size."""
    import timm

    if 'img_size' in kwargs:
        return {}
    module = inspect.getmodule(timm.model_entrypoint(architecture))
    # whole models have a classifier to reset, their blocks have none
    models = [cls for _, cls in inspect.getmembers(module, inspect.isclass)
              if cls.__module__ == module.__name__ and hasattr(cls, 'reset_classifier')]
    accepted = {name for cls in models for name in inspect.signature(cls.__init__).parameters}
    return {name: value for name, value in ANY_SIZE_SWITCHES.items() if name in accepted}


def _patch_size(network: nn.Module) -> tuple[int, int]:
    from timm.layers import PatchEmbed

    return next((tuple(module.patch_size) for module in network.modules() if isinstance(module, PatchEmbed)), (1, 1))


def _only_size(model_name: str, kwargs: dict) -> tuple[int, int] | None:
    """Height and width of a model that may not work at others, None for one that works at any."""
    import timm

    config = timm.models.get_pretrained_cfg(model_name, allow_unregistered=True)
    if config is None or not config.fixed_input_size:
        return None
    size = kwargs.get('img_size', config.input_size[-2:])
    return (size, size) if isinstance(size, int) else tuple(size)


def _check_strides(model_name: str, strides: tuple[int, ...]) -> None:
    if len(strides) > 1 and len(set(strides)) == 1:
        raise ValueError(f"TimmBackbone: '{model_name}' is a plain transformer: all its levels have stride "
                         f'{strides[0]}. Ask for one level (out_indices=[-1]) and a neck that builds a pyramid from '
                         f'it, or take a hierarchical model (swin, convnext, hiera, gcvit, efficientvit).')


def _check_prefixes(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            first = sorted({name.split('.')[0] for name in names})
            raise ValueError(f"TimmBackbone: no parameter starts with frozen_prefixes entry '{prefix}'; "
                             f'the top-level parts are {", ".join(first)}.')
