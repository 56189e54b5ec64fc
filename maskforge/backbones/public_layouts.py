"""The backbone's part of whole models' public files: one entry for every kind of backbone.

Layouts of whole models call :func:`backbone_to_ours` and :func:`backbone_from_ours` with the names from the backbone
on.
"""
from collections.abc import Mapping

from torch import Tensor, nn

from maskforge.backbones import efficientvit_weights, resnet_weights, swin_weights
from maskforge.backbones.efficientvit import EfficientViT
from maskforge.backbones.resnet import ResNet
from maskforge.backbones.swin import SwinTransformer
from maskforge.backbones.timm_weights import with_body, without_body

#: 'official' are the authors' files by Detectron2; 'tao' has the same names but EfficientViT's, one level deeper
LIBRARIES = ('official', 'tao', 'mmdetection', 'huggingface', 'huggingface_hub')
TAO_BODY = 'model.'

State = Mapping[str, Tensor]


def backbone_to_ours(state_dict: State, backbone: nn.Module, library: str) -> dict[str, Tensor]:
    """Return the tensors under the names of ``backbone``; those of networks that are not known here stay.

    Args:
        state_dict: names from the backbone on.
        library: one of ``LIBRARIES``.

    Raises:
        ValueError: another library.
    """
    _check(library)
    if isinstance(backbone, SwinTransformer):
        return swin_weights.fit_sizes(swin_weights.to_ours(state_dict, _swin_layout(library)), backbone)
    if isinstance(backbone, EfficientViT) and efficientvit_weights.recognise(state_dict) is not None:
        return efficientvit_weights.to_ours(state_dict)
    if isinstance(backbone, ResNet) and library in ('official', 'tao'):
        return resnet_weights.to_ours(state_dict)
    return {with_body(name, backbone): value for name, value in state_dict.items()}


def backbone_from_ours(state_dict: State, backbone: nn.Module, library: str) -> dict[str, Tensor]:
    """Return the tensors of ``backbone`` under a library's names: the inverse of :func:`backbone_to_ours`.

    Raises:
        ValueError: another library.
    """
    _check(library)
    if isinstance(backbone, SwinTransformer):
        return swin_weights.from_ours(state_dict, _swin_layout(library))
    if isinstance(backbone, EfficientViT):
        return efficientvit_weights.from_ours(state_dict, prefix=TAO_BODY if library == 'tao' else '')
    if isinstance(backbone, ResNet) and library in ('official', 'tao'):
        return resnet_weights.from_ours(state_dict)
    return {without_body(name, backbone): value for name, value in state_dict.items()}


def _swin_layout(library: str) -> str:
    return 'official' if library == 'tao' else library


def _check(library: str) -> None:
    if library not in LIBRARIES:
        raise ValueError(f"library='{library}' is not one of {', '.join(LIBRARIES)}.")
