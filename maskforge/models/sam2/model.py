"""SAM 2 (Ravi et al. 2024) in a run: training on clips with simulated prompts, prediction on videos and images.

    clips -> image encoder -> features of every frame;  a plan of prompts, drawn once for the batch
    every frame, in the plan's order: memories -> decoder, corrected by clicks -> loss of every pass -> memory
"""
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from mmengine import dist
from mmengine.model import BaseModel
from torch import Tensor, nn

from maskforge.layers.freeze import freeze_modules
from maskforge.models.sam2.chunks import sum_over_chunks
from maskforge.models.sam2.clip_batch import ClipObjects, Clips, frame_features
from maskforge.models.sam2.criterion import ClipCriterion, DecoderPass, LossSettings
from maskforge.models.sam2.export import export_specs
from maskforge.models.sam2.image_prediction import ImagePrompting, predict_images
from maskforge.models.sam2.network import TRUNK, SAM2Network
from maskforge.models.sam2.prompt_plan import PromptPlan, draw_noise, draw_plan
from maskforge.models.sam2.prompt_settings import PromptSettings
from maskforge.models.sam2.prompt_simulation import PromptSimulation
from maskforge.models.sam2.read_settings import read_settings
from maskforge.models.sam2.structures import ImageFeatures, MaskOutput
from maskforge.models.sam2.video_predictor import segment_video
from maskforge.models.sam2.zero_gradients import with_zero_gradients
from maskforge.registry import MODELS
from maskforge.structures import ClipSample, DetDataSample, ExportSpec, VideoFrames

#: of the generator that draws prompts, on every process alike
PROMPT_SEED = 42
RECOMPUTABLE = ('image_encoder', 'memory_attention', 'decoder', 'loss')
NETWORK = 'network.'


@MODELS.register_module()
class SAM2(BaseModel):
    """Promptable segmentation of images and videos.

    Losses are scalars: ``loss_mask``, ``loss_dice``, ``loss_iou``, ``loss_class``, whose sum is the official core
    loss, and ``unweighted_...``, the same terms without weights and gradients, for logs.

    A step leaves some parameters without gradient: which ones depends on its prompts. With several processes they get
    a gradient of zero, so that steps need no ``find_unused_parameters``. The optimizer passes over what no process has
    used, as the official one does (``unused_get_zeros``).

    Args:
        network: settings of :class:`~maskforge.models.sam2.network.SAM2Network`.
        prompts: of :class:`~maskforge.models.sam2.prompt_settings.PromptSettings`.
        loss: of :class:`~maskforge.models.sam2.criterion.LossSettings`.
        freeze_image_encoder: the image encoder is not trained, and has no dropped paths.
        freeze: dotted names of further parts that are not trained, such as ``'memory_attention'`` or
            ``'sam_mask_decoder.transformer'``.
        activation_checkpoint: parts that are computed again in the backward pass rather than kept: of
            'image_encoder' (its blocks), 'memory_attention' (its layers), 'decoder' (every pass), 'loss' (masks of
            the input's size: their gradients are computed along with the loss, in less time than later from what was
            kept).
        objects_per_chunk: most objects that are trained at a time, see
            :func:`~maskforge.models.sam2.chunks.sum_over_chunks`; None is all at once.
        test_cfg: of :class:`~maskforge.models.sam2.image_prediction.ImagePrompting`; and ``video``, a dict of settings
            of :func:`~maskforge.models.sam2.video_predictor.segment_video` and its predictor.
        data_preprocessor, init_cfg: as in MMEngine.

    Raises:
        ValueError: settings that do not exist, do not fit, or contradict each other.
    """

    # what every step runs equally often in all processes, see FSDP2Strategy
    sharded_parts = ('network.image_encoder.trunk',)
    # what `compile=True` compiles, piece by piece: shapes vary little there, and control flow with the data not at all
    compiled_parts = ('network.image_encoder', 'network.memory_encoder')
    unused_get_zeros = True

    def __init__(self, network: Mapping[str, Any], *, prompts: Mapping[str, Any] | None = None,
                 loss: Mapping[str, Any] | None = None, freeze_image_encoder: bool = False,
                 freeze: Sequence[str] = (), activation_checkpoint: Sequence[str] = ('loss',),
                 objects_per_chunk: int | None = None, test_cfg: Mapping[str, Any] | None = None,
                 data_preprocessor: Mapping | nn.Module | None = None, init_cfg: dict | list | None = None) -> None:
        if not isinstance(data_preprocessor, nn.Module):
            data_preprocessor = MODELS.build(data_preprocessor or dict(type='ClipPreprocessor'))
        super().__init__(data_preprocessor, init_cfg)
        recompute = _check_recompute(activation_checkpoint)
        if objects_per_chunk is not None and objects_per_chunk < 1:
            raise ValueError(f'SAM2: objects_per_chunk={objects_per_chunk} must be at least 1; None is all at once.')
        self.network = SAM2Network(**_network_settings(network, recompute))
        self.prompts = read_settings(PromptSettings, prompts, where='prompts')
        self.criterion = ClipCriterion(_loss_settings(loss, self.network), recompute='loss' in recompute)
        self.recompute_decoder, self.objects_per_chunk = 'decoder' in recompute, objects_per_chunk
        self.image_prompting, self.video_settings = _read_test_cfg(test_cfg or {})
        self.generator = np.random.default_rng(PROMPT_SEED)
        names = [*freeze, *(['image_encoder'] if freeze_image_encoder else [])]
        self.frozen = tuple(name if name.startswith(NETWORK) else NETWORK + name for name in names)
        freeze_modules(self, self.frozen)

    def train(self, mode: bool = True) -> 'SAM2':
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        freeze_modules(self, self.frozen)
        return self

    def layer_id(self, name: str) -> int | None:
        """Depth of a parameter for layer-wise learning rates; None for all but the image encoder's trunk."""
        return self.network.layer_id(name.removeprefix(NETWORK))

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width that images are brought to."""
        return self.network.image_size

    def export_spec(self, *, height: int, width: int, batch_size: int = -1, opset_version: int = 17,
                    dynamic_size: bool = False, masks: str = 'all', output: str = 'low_res') -> dict[str, ExportSpec]:
        """Describe the two files; see :func:`maskforge.models.sam2.export.export_specs`."""
        preprocessor = self.data_preprocessor
        return export_specs(self.network, mean=preprocessor.mean, std=preprocessor.std, height=height, width=width,
                            batch_size=batch_size, opset_version=opset_version, dynamic_size=dynamic_size, masks=masks,
                            output=output)

    def random_state(self) -> dict[str, Any]:
        """Plain state of the generator of prompts; the engine saves it with those of the process."""
        return self.generator.bit_generator.state

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`random_state` gave."""
        self.generator.bit_generator.state = dict(state)

    def forward(self, inputs: Clips | Sequence, data_samples: Sequence[ClipSample | DetDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[ClipSample] | list[DetDataSample] | ImageFeatures:
        """Run on a batch.

        Args:
            inputs: normalised clips for 'loss' and 'tensor'; for 'predict' videos or uint8 images, as they come.
            mode: 'loss' returns scalars by name, 'predict' the samples with what was found, 'tensor' the features of
                all frames.

        Raises:
            ValueError: another mode; samples that do not fit.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.network.encode_images(inputs.flatten(0, 1))
        raise ValueError(f"mode={mode!r} is not 'loss', 'predict' or 'tensor'.")

    def loss(self, clips: Clips, data_samples: Sequence[ClipSample]) -> dict[str, Tensor]:
        """Return the losses of clips with new prompts.

        Outside training the prompts are drawn anew from torch's generator: losses of a validation leave the course of
        training as it is.
        """
        objects = ClipObjects.of(data_samples, clips)
        settings = self.prompts.for_phase(self.training)
        generator = self.generator if self.training else np.random.default_rng(int(torch.randint(2**31, ())))
        plan = draw_plan(generator, settings, clips.shape[1])
        noise = draw_noise(plan, len(objects.clip), settings, clips.device)
        simulation = PromptSimulation(self.network, plan, self.prompts, recompute=self.recompute_decoder)
        per_frame = not self.training and self.prompts.forward_backbone_per_frame_for_eval
        features, shared = frame_features(self.network, clips, per_frame=per_frame)

        def terms(_: Tensor, rows: slice) -> Float[Tensor, ' 4']:
            masks, clip = objects.masks[:, rows], objects.clip[rows]
            passes = simulation.run(lambda frame: features(frame, clip), masks, noise[rows])
            return sum(self.criterion.pass_terms(self._compared(simulation, frame, output), masks[frame])
                       for frame, output in passes)

        sums = sum_over_chunks(terms, shared, len(objects.clip), self.objects_per_chunk)
        return self._connected(self.criterion.losses(sums, len(objects.clip)), plan, shared)

    def _compared(self, simulation: PromptSimulation, frame: int, output: MaskOutput) -> DecoderPass:
        if simulation.is_mask_prompt(frame):
            logits = output.masks_high
        else:
            logits = output.ungated_low if self.criterion.settings.ungated else output.multimasks_low
        return DecoderPass(logits, output.ious, output.object_scores)

    def _connected(self, losses: dict[str, Tensor], plan: PromptPlan, features: Tensor) -> dict[str, Tensor]:
        """With gradients for what the step did not use, where somebody waits for them."""
        alone = dist.get_world_size() == 1
        has_gradient = any(value.requires_grad for value in losses.values())
        if not torch.is_grad_enabled() or (alone and has_gradient):
            return losses
        # the trunk, most of the network, has its gradient wherever something was decoded; elsewhere it gets one by way
        # of its features, because sharded blocks wait for each other in the backward pass
        ends = [] if plan.gives_gradients and has_gradient else [features]
        others = (parameter for name, parameter in self.named_parameters() if not name.startswith(NETWORK + TRUNK))
        return with_zero_gradients(losses, [*ends, *others])

    @torch.no_grad()
    def predict(self, inputs: Sequence[VideoFrames] | Sequence[Tensor],
                data_samples: Sequence[ClipSample] | Sequence[DetDataSample]) -> list[ClipSample] | list[DetDataSample]:
        """Return the samples with predictions: of videos ``pred_masks`` and ``pred_scores`` of the objects in their
        first masks; of images ``pred_instances`` or ``pred_clicks``, as ``test_cfg`` asks.
        """
        preprocessor = self.data_preprocessor
        normalisation = dict(mean=preprocessor.mean.flatten().tolist(), std=preprocessor.std.flatten().tolist())
        if not preprocessor.bgr_to_rgb:
            inputs = [_reversed_channels(item) for item in inputs]
        if isinstance(data_samples[0], ClipSample):
            settings = {**normalisation, **self.video_settings}
            return [segment_video(self.network, dict(inputs=frames, data_samples=sample), **settings)
                    for frames, sample in zip(inputs, data_samples)]
        return predict_images(self.network, inputs, data_samples, self.image_prompting, **normalisation)


def _check_recompute(parts: Sequence[str]) -> tuple[str, ...]:
    unknown = [part for part in parts if part not in RECOMPUTABLE]
    if isinstance(parts, str) or unknown:
        raise ValueError(f'SAM2: activation_checkpoint={parts!r} is a list of parts; they are '
                         f'{", ".join(RECOMPUTABLE)}.')
    return tuple(parts)


def _network_settings(network: Mapping[str, Any], recompute: Sequence[str]) -> dict[str, Any]:
    wanted = {'checkpoint_trunk': 'image_encoder', 'checkpoint_memory_attention': 'memory_attention'}
    return {**network, **{name: True for name, part in wanted.items() if part in recompute}}


def _loss_settings(loss: Mapping[str, Any] | None, network: SAM2Network) -> LossSettings:
    settings, has_scores = read_settings(LossSettings, loss, where='loss'), network.settings.pred_obj_scores
    if settings.pred_obj_scores and not has_scores:
        raise ValueError('SAM2: loss.pred_obj_scores=True needs network.pred_obj_scores=True; the network without '
                         'visibility scores takes all objects for visible ones.')
    return settings if settings.pred_obj_scores is not None else replace(settings, pred_obj_scores=has_scores)


def _read_test_cfg(values: Mapping[str, Any]) -> tuple[ImagePrompting, dict[str, Any]]:
    values, allowed = dict(values), [*(field.name for field in fields(ImagePrompting)), 'video']
    unknown = [name for name in values if name not in allowed]
    if unknown:
        raise ValueError(f"SAM2: test_cfg has no setting '{unknown[0]}'; allowed: {', '.join(allowed)}.")
    video = dict(values.pop('video', {}))
    return ImagePrompting(**values), video


def _reversed_channels(item: VideoFrames | Tensor) -> VideoFrames | Tensor:
    """The predictors take BGR."""
    if isinstance(item, Tensor):
        return item.flip(0)
    return VideoFrames(item.names, lambda frame: item[frame].flip(0), ori_shape=item.ori_shape)
