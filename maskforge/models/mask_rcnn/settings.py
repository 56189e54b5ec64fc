"""What ``train_cfg`` and ``test_cfg`` may say, with every default; an unknown key is an error."""
import dataclasses
import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Settings = TypeVar('Settings')

# MMDetection's configs carry it, and its code does not read it either.
WITHOUT_EFFECT = ('debug',)


def _nms(threshold: float | int) -> dict:
    return dict(type='nms', iou_threshold=threshold)


@dataclass
class ProposalSettings:
    """How the RPN's output becomes proposals: ``test_cfg.rpn`` and ``train_cfg.rpn_proposal``.

    Attributes:
        nms_pre: best anchors per level that are decoded.
        max_per_img: proposals kept per image, over all levels.
        nms: ``dict(type='nms', iou_threshold=...)``; levels never suppress each other.
        min_bbox_size: proposals are wider and higher than this many pixels.
    """

    nms_pre: int = 1000
    max_per_img: int = 1000
    nms: Mapping = dataclasses.field(default_factory=lambda: _nms(0.7))
    min_bbox_size: float | int = 0


@dataclass
class RPNTrainSettings:
    """``train_cfg.rpn``.

    Attributes:
        assigner, sampler: configs of TASK_UTILS.
        allowed_border: pixels by which an anchor may leave the image and still be trained; -1: any number.
        pos_weight: weight of positive anchors; -1 is 1.
    """

    assigner: Mapping
    sampler: Mapping
    allowed_border: int = -1
    pos_weight: float | int = -1


@dataclass
class RCNNTrainSettings:
    """``train_cfg.rcnn``.

    Attributes:
        assigner, sampler: configs of TASK_UTILS.
        mask_size: side of the mask targets in pixels.
        mask_target: 'binary', or 'soft': RoIAlign averages of the bitmaps as they are, torchvision's targets.
        pos_weight: weight of positive proposals; -1 is 1.
    """

    assigner: Mapping
    sampler: Mapping
    mask_size: int | None = None
    mask_target: str = 'binary'
    pos_weight: float | int = -1


@dataclass
class RCNNTestSettings:
    """``test_cfg.rcnn``.

    Attributes:
        score_thr: detections score above it.
        nms: ``dict(type='nms', iou_threshold=...)``; classes never suppress each other.
        max_per_img: detections kept per image; -1 keeps all.
        mask_thr_binary: mask pixels have at least this probability.
    """

    score_thr: float | int = 0.05
    nms: Mapping = dataclasses.field(default_factory=lambda: _nms(0.5))
    max_per_img: int = 100
    mask_thr_binary: float | None = 0.5


def read_settings(cls: type[Settings], values: Mapping | Settings, where: str) -> Settings:
    """Build ``cls`` from a part of the config.

    Args:
        where: the config key, for messages.

    Raises:
        ValueError: a key that does not exist (with near names), one that is missing, or an ``nms`` other than 'nms'.
    """
    if isinstance(values, cls):
        return values
    values = dict(values)
    for key in WITHOUT_EFFECT:
        if key in values:
            warnings.warn(f'{where}.{key} has no effect and is ignored.', stacklevel=2)
            del values[key]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    check_keys(values, list(fields), where)
    needed = [name for name, field in fields.items()
              if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
    missing = [name for name in needed if values.get(name) is None]
    if missing:
        raise ValueError(f'{where} must have {", ".join(missing)}.')
    if 'nms' in values:
        _check_nms(values['nms'], f'{where}.nms')
    return cls(**values)


def check_keys(values: Mapping, allowed: list[str], where: str) -> None:
    """Raise ``ValueError`` for keys outside ``allowed``, with the nearest names."""
    for key in values:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=2, cutoff=0.5)
            hint = f'did you mean {" or ".join(near)}?' if near else f'allowed: {", ".join(allowed)}.'
            raise ValueError(f"{where} has no setting '{key}': {hint}")


def _check_nms(nms: Mapping, where: str) -> None:
    check_keys(nms, ['type', 'iou_threshold'], where)
    if nms.get('type', 'nms') != 'nms' or 'iou_threshold' not in nms:
        raise ValueError(f"{where} must be dict(type='nms', iou_threshold=...), got {dict(nms)}.")
