"""``ImagePredictor``: masks from points, boxes and earlier masks in images.

Legend: N objects, M masks per object, h w a quarter of the network's input.
"""
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from maskforge.models.sam2.input_scaling import IMAGENET_MEAN, IMAGENET_STD
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.prompt_predictor import PromptPredictor, object_count
from maskforge.models.sam2.settings_override import settings_override
from maskforge.models.sam2.structures import ImageFeatures, Prompts


class ImagePredictor(PromptPredictor):
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
        self.network = network.eval()
        super().__init__(network.image_size, mean=mean, std=std, mask_threshold=mask_threshold,
                         max_hole_area=max_hole_area, max_sprinkle_area=max_sprinkle_area,
                         objects_per_batch=objects_per_batch)
        self._overrides = dict(dynamic_multimask_via_stability=dynamic_multimask,
                               dynamic_multimask_stability_delta=stability_delta,
                               dynamic_multimask_stability_thresh=stability_threshold)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def _encode(self, inputs: Float[Tensor, 'B 3 _ _']) -> ImageFeatures:
        features = self.network.encode_images(inputs)
        # an image is a clip's first frame: there is nothing to remember yet
        s16 = self.network.condition(features.s16, MemoryBank(), 0, num_frames=1, initial=True)
        return features.with_s16(s16)

    def _decode(self, features: ImageFeatures, image: int, prompts: Prompts,
                multimask: bool) -> tuple[Float[Tensor, 'N M h w'], Float[Tensor, 'N M']]:
        rows = features[torch.full((object_count(prompts),), image, device=self.device)]
        with settings_override(self.network, **self._overrides):
            output = self.network.sam_heads(rows, prompts, multimask=multimask)
        return output.ungated_low.float(), output.ious.float()
