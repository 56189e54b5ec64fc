"""``ImagePredictor``: masks from points, boxes and earlier masks in images.

Legend: N objects, M masks per object, H W pixels of the original image, h w a quarter of the network's input.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from maskforge.models.sam2.hole_filling import tidy_masks
from maskforge.models.sam2.input_scaling import IMAGENET_MEAN, IMAGENET_STD, InputScaling, bgr_tensor
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.settings_override import settings_override
from maskforge.models.sam2.structures import ImageFeatures, MaskOutput, Prompts
from maskforge.models.sam2.user_prompts import Given, UserPrompts

#: earlier logits beyond it would drown new clicks
LOGIT_LIMIT = 32.


class ImagePrediction(NamedTuple):
    """Masks of one image; the axis N is there if the prompts had it.

    Attributes:
        masks: (N, M, H, W) bool, or float logits with ``return_logits``.
        ious: (N, M) what the network takes the masks' IoU with the truth to be.
        low_res_logits: (N, M, h, w) logits in [-32, 32]; one mask per object of them is a ``mask_input``.
    """

    masks: Bool[Tensor, '*N M H W'] | Float[Tensor, '*N M H W']
    ious: Float[Tensor, '*N M']
    low_res_logits: Float[Tensor, '*N M h w']


class ImagePredictor:
    """Segments objects in images that are encoded once.

    Args:
        network: is put into evaluation mode; images go to its device.
        mean, std: normalisation, RGB.
        mask_threshold: a pixel whose logit is above is inside.
        max_hole_area, max_sprinkle_area: holes and islands of at most so many pixels of the original image are
            filled and removed.
        dynamic_multimask: with ``multimask_output=False``, an unstable mask gives way to the best of three. None
            follows the network's ``dynamic_multimask_via_stability``.
        stability_delta, stability_threshold: when a mask is stable; None follows the network's
            ``dynamic_multimask_stability_delta`` and ``_thresh`` (0.05, 0.98).
        objects_per_batch: objects that go through the decoder at once.

    Example:
        >>> predictor = ImagePredictor(model.network)
        >>> predictor.set_image(cv2.imread('truck.jpg'))
        >>> masks, ious, logits = predictor.predict(box=[75, 275, 1725, 850], multimask_output=False)
    """

    def __init__(self, network: SAM2Network, *, mean: Sequence[float] = IMAGENET_MEAN,
                 std: Sequence[float] = IMAGENET_STD, mask_threshold: float | int = 0., max_hole_area: int | float = 0,
                 max_sprinkle_area: int | float = 0, dynamic_multimask: bool | None = None,
                 stability_delta: float | int | None = None, stability_threshold: float | int | None = None,
                 objects_per_batch: int = 64) -> None:
        if objects_per_batch < 1:
            raise ValueError(f'objects_per_batch={objects_per_batch} must be at least 1.')
        self.network = network.eval()
        self.scaling = InputScaling(network.image_size, mean=mean, std=std)
        self.mask_threshold, self.objects_per_batch = mask_threshold, objects_per_batch
        self.max_hole_area, self.max_sprinkle_area = max_hole_area, max_sprinkle_area
        self._overrides = dict(dynamic_multimask_via_stability=dynamic_multimask,
                               dynamic_multimask_stability_delta=stability_delta,
                               dynamic_multimask_stability_thresh=stability_threshold)
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of low-resolution logits."""
        return tuple(side // 4 for side in self.network.image_size)

    def reset(self) -> None:
        """Forget the images."""
        self.sizes: list[tuple[int, int]] = []
        self._features: ImageFeatures | None = None

    def set_image(self, image: np.ndarray, *, channels: str = 'bgr') -> None:
        """Encode one image, (H, W, 3) uint8; ``channels`` is 'bgr' (cv2) or 'rgb' (PIL).

        Raises:
            ValueError: not such an array.
        """
        self.set_images([image], channels=channels)

    def set_images(self, images: Sequence[np.ndarray], *, channels: str = 'bgr') -> None:
        """Encode images, of any sizes, together; see :meth:`set_image`."""
        self.set_tensors([bgr_tensor(image, channels=channels, source=f'image {index}')
                          for index, image in enumerate(images)])

    @torch.no_grad()
    def set_tensors(self, images: Sequence[UInt8[Tensor, '3 _ _']],
                    sizes: Sequence[tuple[int, int]] | None = None) -> None:
        """Encode BGR tensors; ``sizes`` are those of the originals where the tensors are resized already."""
        if not len(images):
            raise ValueError('there is no image to encode.')
        inputs = torch.cat([self.scaling.images(image[None], self.device) for image in images])
        features = self.network.encode_images(inputs)
        # an image is a clip's first frame: there is nothing to remember yet
        s16 = self.network.condition(features.s16, MemoryBank(), 0, num_frames=1, initial=True)
        self._features = features.with_s16(s16)
        self.sizes = [tuple(size) for size in sizes or [image.shape[-2:] for image in images]]

    def predict(self, *, point_coords: Given = None, point_labels: Given = None, box: Given = None,
                mask_input: Given = None, multimask_output: bool = True, return_logits: bool = False,
                image: int = 0) -> ImagePrediction:
        """Predict the masks of one or more objects of one image.

        Args:
            point_coords, point_labels, box, mask_input: see
                :meth:`~maskforge.models.sam2.user_prompts.UserPrompts.read`; coordinates in pixels of the original.
            multimask_output: three masks per object, for prompts that may mean several things (one click); otherwise
                one.
            return_logits: ``masks`` are logits instead of bool.
            image: which of the images that were set.

        Raises:
            ValueError: no image is set, or bad prompts.
            IndexError: no such image.
        """
        size = self._size_of(image)
        reader = UserPrompts(self.scaling, self.mask_size, self.device)
        prompts, has_axis = reader.read(size, point_coords=point_coords, point_labels=point_labels, box=box,
                                        mask_input=mask_input)
        low, ious = self.decode(prompts, multimask=multimask_output, image=image)
        masks = self.at_original_size(low, image=image)
        masks = masks if return_logits else masks > self.mask_threshold
        prediction = ImagePrediction(masks, ious, low.clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
        return prediction if has_axis else ImagePrediction(*(value[0] for value in prediction))

    def predict_batch(self, *, point_coords: Sequence[Given] | None = None,
                      point_labels: Sequence[Given] | None = None, box: Sequence[Given] | None = None,
                      mask_input: Sequence[Given] | None = None, multimask_output: bool = True,
                      return_logits: bool = False) -> list[ImagePrediction]:
        """Predict for all images that were set; one entry of every prompt per image. See :meth:`predict`.

        Raises:
            ValueError: another number of entries than images.
        """
        given = dict(point_coords=point_coords, point_labels=point_labels, box=box, mask_input=mask_input)
        for name, entries in given.items():
            if entries is not None and len(entries) != len(self.sizes):
                raise ValueError(f'{name} has {len(entries)} entries for {len(self.sizes)} images.')
        return [self.predict(**{name: entries[index] for name, entries in given.items() if entries is not None},
                             multimask_output=multimask_output, return_logits=return_logits, image=index)
                for index in range(len(self.sizes))]

    @torch.no_grad()
    def decode(self, prompts: Prompts, *, multimask: bool,
               image: int = 0) -> tuple[Float[Tensor, 'N M h w'], Float[Tensor, 'N M']]:
        """Return low-resolution logits and predicted IoUs; the prompts are in pixels of the input.

        Masks are not emptied where the network takes the object to be absent: whoever points at something means it.
        """
        self._size_of(image)
        outputs = [self._decode(prompts[start:start + self.objects_per_batch], multimask, image)
                   for start in range(0, object_count(prompts), self.objects_per_batch)]
        return tuple(torch.cat(parts) for parts in zip(*((one.ungated_low.float(), one.ious.float())
                                                         for one in outputs)))

    def _decode(self, prompts: Prompts, multimask: bool, image: int) -> MaskOutput:
        features = self._features[torch.full((object_count(prompts),), image, device=self.device)]
        with settings_override(self.network, **self._overrides):
            return self.network.sam_heads(features, prompts, multimask=multimask)

    def at_original_size(self, low: Float[Tensor, 'N M h w'], *, image: int = 0) -> Float[Tensor, 'N M H W']:
        """Return logits at the size of the original, without small holes and islands."""
        logits = F.interpolate(low, size=self._size_of(image), mode='bilinear', align_corners=False)
        return tidy_masks(logits, max_hole_area=self.max_hole_area, max_sprinkle_area=self.max_sprinkle_area,
                          mask_threshold=self.mask_threshold)

    def _size_of(self, image: int) -> tuple[int, int]:
        if self._features is None:
            raise ValueError('no image is set: call set_image(image) first.')
        if not 0 <= image < len(self.sizes):
            raise IndexError(f'image {image} does not exist; {len(self.sizes)} are set.')
        return self.sizes[image]


def object_count(prompts: Prompts) -> int:
    """N of prompts."""
    return len(prompts.points if prompts.points is not None else prompts.masks)
