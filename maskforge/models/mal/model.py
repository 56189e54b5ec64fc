"""MAL, Mask Auto-Labeler (Lan et al. 2023): masks from boxes, one crop per box.

    augmented crop -> student -> logits -> losses against the rows and columns of the box, and against a mean field of
    clean crop     -> teacher -> logits    both networks' probabilities (the teacher is the student's moving average)

Legend: B crops, S side of the logits, c side of the crops.
"""
import warnings
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn

from maskforge.models.mal.architectures import backbone_config
from maskforge.models.mal.compat import Compat, read_compat
from maskforge.models.mal.criterion import MALCriterion
from maskforge.models.mal.freezing import frozen_modules
from maskforge.models.mal.heads import KeyHead, ValueHead
from maskforge.models.mal.network import MALNetwork
from maskforge.models.mal.prediction import PredictionSettings, add_predictions
from maskforge.models.mal.size_bins import check_thresholds
from maskforge.models.mal.teacher import Teacher
from maskforge.ops.device_values import on_device
from maskforge.registry import MODELS
from maskforge.structures import DetDataSample

Crops = Float[Tensor, 'B 3 c c']
STUDENT_BACKBONE = 'student.backbone.'
KERNEL_IMAGES = ('student', 'clean')


@MODELS.register_module()
class MAL(BaseModel):
    """Student and teacher with one value map and one key per crop.

    Args:
        arch: a name of :data:`~maskforge.models.mal.architectures.ARCHITECTURES`; None if ``backbone`` is whole.
        compat: 'default'; 'reference' for released weights, 'tao6' for those of TAO 6; see
            :class:`~maskforge.models.mal.compat.Compat`.
        backbone: values that replace the architecture's, or any backbone of MODELS that returns one level.
        data_preprocessor: config of MODELS.
        frozen_stages: parts of the backbone that do not train; [-1]: none.
        frozen_stages_as: 'list' (every entry: 0 the patch embedding, i the i-th block) or 'range' (two ends); None
            follows ``compat``.
        mask_head_num_convs, mask_head_hidden_channel, mask_head_out_channel: of the value head; the last one is the
            length of the keys, too.
        not_adjust_scale: compute all masks at one resolution, whatever the size of the box.
        teacher_momentum: part of the teacher that stays at every update, in [0, 1].
        crf_kernel_image: 'student' or 'clean', the image whose colours the mean field uses; None follows ``compat``.
        mean_field: 'logit' or 'exact', the mean field's form; None follows ``compat``.
        crf_kernel_size, crf_num_iter, crf_zeta, crf_value_low, crf_value_high, loss_mil_weight, loss_crf_weight,
            loss_mil_step, loss_crf_step: see :class:`~maskforge.models.mal.criterion.MALCriterion`.
        mask_thres, use_teacher_test, use_mixed_model_test: see
            :class:`~maskforge.models.mal.prediction.PredictionSettings`.
        use_flip_test: average the logits with those of the mirrored crop.

    Raises:
        ValueError: a setting that does not exist or does not fit.
    """

    # what every step runs equally often in all processes, see FSDP2Strategy
    sharded_parts = ('student.backbone', 'teacher.backbone')
    # what `compile=True` compiles, piece by piece: shapes vary little there, and control flow with the data not at all
    compiled_parts = ('student.backbone', 'student.mask_head', 'teacher.backbone', 'teacher.mask_head')

    def __init__(self, arch: str | None = 'vit-mae-base/16', *, compat: str | Compat = 'default',
                 backbone: Mapping | None = None, data_preprocessor: Mapping | nn.Module | None = None,
                 frozen_stages: Sequence[int] = (-1,), frozen_stages_as: str | None = None,
                 mask_head_num_convs: int = 4, mask_head_hidden_channel: int = 256, mask_head_out_channel: int = 256,
                 not_adjust_scale: bool = False, teacher_momentum: float | int = 0.996,
                 crf_kernel_size: int = 3, crf_num_iter: int = 100, crf_zeta: float | int = 0.1,
                 crf_value_low: float = 0.1, crf_value_high: float = 0.9, crf_kernel_image: str | None = None,
                 mean_field: str | None = None, loss_mil_weight: float | int = 4.0,
                 loss_crf_weight: float | int = 0.5, loss_mil_step: int = 1000, loss_crf_step: int = 4000,
                 mask_thres: Sequence[float | int] = (0.1,), use_teacher_test: bool = False,
                 use_mixed_model_test: bool = False, use_flip_test: bool = False,
                 init_cfg: dict | list | None = None) -> None:
        if not isinstance(data_preprocessor, nn.Module):
            data_preprocessor = MODELS.build(data_preprocessor or dict(type='BoxCropPreprocessor'))
        super().__init__(data_preprocessor, init_cfg)
        self.compat = read_compat(compat)
        self.teacher_momentum = _check_momentum(teacher_momentum)
        self.kernel_image = _check_kernel_image(crf_kernel_image or self.compat.crf_kernel_image)
        built = MODELS.build(backbone_config(arch, backbone, self.compat))
        channels = _channels(built)
        frozen = frozen_modules(built, frozen_stages, frozen_stages_as or self.compat.frozen_stages)
        self.student = MALNetwork(
            built, KeyHead(channels, mask_head_out_channel),
            ValueHead(channels, mask_head_hidden_channel, mask_head_out_channel, mask_head_num_convs),
            size_bins=self.compat.size_bins, adjust_scale=not not_adjust_scale, frozen=frozen)
        self.teacher = Teacher(self.student)
        self.criterion = MALCriterion(
            crf_kernel_size=crf_kernel_size, crf_num_iter=crf_num_iter, crf_zeta=crf_zeta,
            crf_value_low=crf_value_low, crf_value_high=crf_value_high, mean_field=mean_field or self.compat.mean_field,
            loss_mil_weight=loss_mil_weight, loss_crf_weight=loss_crf_weight, loss_mil_step=loss_mil_step,
            loss_crf_step=loss_crf_step)
        self.warm_after = max(loss_mil_step, loss_crf_step)
        if use_teacher_test and use_mixed_model_test:
            warnings.warn('MAL: use_mixed_model_test averages both networks; use_teacher_test has no effect beside it.',
                          stacklevel=2)
        self.use_flip_test = use_flip_test
        self.settings = PredictionSettings(check_thresholds(mask_thres), self.compat.size_bins, self.compat.clip,
                                           use_teacher_test, use_mixed_model_test)

    def init_weights(self) -> None:
        """Initialise the student by the configs of its parts; the teacher becomes its copy."""
        self.student.init_weights()
        self.teacher.copy_from(self.student)

    def update_teacher(self) -> None:
        """Let the teacher follow the student; to be called after every step of the optimizer."""
        self.teacher.follow(self.student, momentum=self.teacher_momentum)

    def layer_id(self, name: str) -> int | None:
        """Depth of a parameter for layer-wise learning rates; None for the heads and the teacher."""
        if not name.startswith(STUDENT_BACKBONE) or not hasattr(self.student.backbone, 'layer_id'):
            return None
        return self.student.backbone.layer_id(name.removeprefix(STUDENT_BACKBONE))

    def forward(self, inputs: Crops | dict[str, Crops], data_samples: Sequence[DetDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[DetDataSample] | Float[Tensor, 'B S S']:
        """Run on normalised crops.

        Args:
            inputs: the crops; for the losses ``student`` and ``teacher``, the augmented and the clean ones.
            data_samples: one per crop, as ``BoxCropDataset`` makes them.
            mode: 'loss' returns ``loss_mil`` and ``loss_crf``, 'predict' the samples with ``pred_instances``, 'tensor'
                the logits (without samples all boxes are taken for large ones).

        Raises:
            ValueError: another mode.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        images = inputs['teacher'] if isinstance(inputs, Mapping) else inputs
        if mode == 'predict':
            return self.predict(images, data_samples)
        if mode == 'tensor':
            return self._chosen(images, data_samples and _areas(data_samples))
        raise ValueError(f"mode={mode!r} is not 'loss', 'predict' or 'tensor'.")

    def loss(self, inputs: Crops | dict[str, Crops], data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Return ``loss_mil`` and ``loss_crf``; crops that were not augmented serve both networks."""
        images = inputs if isinstance(inputs, Mapping) else dict(student=inputs, teacher=inputs)
        areas = _areas(data_samples)
        student = self.student(images['student'], areas)
        with torch.no_grad():
            teacher = self.teacher(images['teacher'], areas)
        # float32 under mixed precision too: bfloat16 has no whole pixels above 256
        boxes = on_device([list(sample.box_in_crop) for sample in data_samples], student.device, dtype=torch.float32)
        periods = [sample.metainfo.get('box_period') for sample in data_samples]
        wraps = {} if None in periods else dict(
            box_periods=on_device(periods, student.device, dtype=torch.float32))
        kernel = images['student' if self.kernel_image == 'student' else 'teacher']
        return self.criterion(student, teacher, kernel, boxes, kernel.shape[-1], self._step(),
                              **wraps)

    def _step(self) -> int:
        """The run's iteration, for the warm-ups; outside a run nothing warms up."""
        hub = MessageHub.get_current_instance()
        iteration, epoch = (hub.get_info(key, None) for key in ('iter', 'epoch'))
        if iteration is None or (self.compat.warmup == 'epoch' and epoch):
            return self.warm_after
        return iteration

    @torch.no_grad()
    def predict(self, images: Crops, data_samples: Sequence[DetDataSample]) -> list[DetDataSample]:
        """Return the samples with ``pred_instances``; see :func:`~maskforge.models.mal.prediction.add_predictions`."""
        student, teacher = self._both(images, _areas(data_samples))
        add_predictions(data_samples, student, teacher, images.shape[-1], self.settings)
        return list(data_samples)

    def _chosen(self, images: Crops, areas: list[float] | None) -> Tensor:
        """The logits that masks are made of, without asking the other network where it has no say."""
        if self.settings.use_mixed_model_test:
            return self.settings.choose(*self._both(images, areas))
        return self._averaged(self.teacher if self.settings.use_teacher_test else self.student, images, areas)

    def _both(self, images: Crops, areas: list[float] | None) -> tuple[Tensor, Tensor]:
        return self._averaged(self.student, images, areas), self._averaged(self.teacher, images, areas)

    def _averaged(self, network: MALNetwork, images: Crops, areas: list[float] | None) -> Tensor:
        logits = network(images, areas)
        return (logits + network(images.flip(-1), areas).flip(-1)) / 2 if self.use_flip_test else logits


def _areas(samples: Sequence[DetDataSample]) -> list[float]:
    # from the samples' metainfo, not from tensors: reading a tensor would wait for the device
    return [float(sample.box_area) for sample in samples]


def _channels(backbone: nn.Module) -> int:
    channels = getattr(backbone, 'out_channels', None)
    if channels is None or len(channels) != 1:
        raise ValueError(f'MAL: the backbone must return one level; {type(backbone).__name__}.out_channels is '
                         f'{channels}. Choose one with out_indices.')
    return channels[0]


def _check_momentum(momentum: float | int) -> float:
    if not 0 <= momentum <= 1:
        raise ValueError(f'MAL: teacher_momentum={momentum} must be in [0, 1].')
    return float(momentum)


def _check_kernel_image(image: str) -> str:
    if image not in KERNEL_IMAGES:
        raise ValueError(f'MAL: crf_kernel_image={image!r} is not one of {", ".join(KERNEL_IMAGES)}.')
    return image
