"""Masks from points, boxes and earlier masks in images, whatever runs the network.

Legend: N objects, M masks per object, H W pixels of the original image, h w a quarter of the network's input.
"""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from maskforge.models.sam2.hole_filling import tidy_masks
from maskforge.models.sam2.input_scaling import InputScaling, bgr_tensor
from maskforge.models.sam2.structures import ImageFeatures, Prompts
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


class PromptPredictor(ABC):
    """Segments objects in images that are encoded once; subclasses run the network.

    Args:
        input_size: (h, w) of the network's input.
        mean, std: normalisation, RGB.
        mask_threshold, max_hole_area, max_sprinkle_area, objects_per_batch: see
            :class:`~maskforge.models.sam2.image_predictor.ImagePredictor`.

    Attributes:
        scaling: from images to the network's input.
        sizes: (H, W) of the images that are set.
    """

    def __init__(self, input_size: tuple[int, int], *, mean: Sequence[float], std: Sequence[float],
                 mask_threshold: float | int, max_hole_area: int | float,
                 max_sprinkle_area: int | float, objects_per_batch: int) -> None:
        if objects_per_batch < 1:
            raise ValueError(f'objects_per_batch={objects_per_batch} must be at least 1.')
        self.scaling = InputScaling(input_size, mean=mean, std=std)
        self.mask_threshold, self.objects_per_batch = mask_threshold, objects_per_batch
        self.max_hole_area, self.max_sprinkle_area = max_hole_area, max_sprinkle_area
        self.reset()

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where images and prompts go."""

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of low-resolution logits."""
        return tuple(side // 4 for side in self.scaling.input_size)

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
        self._features = self._encode(inputs)
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
        outputs = [self._decode(self._features, image, prompts[start:start + self.objects_per_batch], multimask)
                   for start in range(0, object_count(prompts), self.objects_per_batch)]
        return tuple(torch.cat(parts) for parts in zip(*outputs))

    @abstractmethod
    def _encode(self, inputs: Float[Tensor, 'B 3 _ _']) -> ImageFeatures:
        """Return the features of scaled images, as the decoder takes them."""

    @abstractmethod
    def _decode(self, features: ImageFeatures, image: int, prompts: Prompts,
                multimask: bool) -> tuple[Float[Tensor, 'N M h w'], Float[Tensor, 'N M']]:
        """Return logits and predicted IoUs of objects in one of the images."""

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
