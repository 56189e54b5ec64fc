"""``AutomaticMaskGenerator``: masks of everything in an image, from a grid of clicks (Kirillov et al. 2023, D).

Legend: N masks, H W pixels of the image, h w those of low-resolution logits.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maskforge.models.sam2.hole_filling import remove_small_regions
from maskforge.models.sam2.image_predictor import ImagePredictor
from maskforge.models.sam2.input_scaling import bgr_tensor
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.point_grids import CropBox, crop_boxes, layer_grids
from maskforge.models.sam2.prompt_predictor import LOGIT_LIMIT
from maskforge.models.sam2.stability import stability_scores
from maskforge.models.sam2.structures import Prompts
from maskforge.models.sam2.user_prompts import POSITIVE
from maskforge.ops.device_values import on_device
from maskforge.ops.nms import grouped_nms
from maskforge.structures import InstanceMasks
from maskforge.structures.packed_mask import window_to_rle

OUTPUT_MODES = ('coco_rle', 'uncompressed_rle', 'binary_mask')
#: pixels; a mask that ends so near to its crop's border goes on outside of the crop
BORDER = 20.
#: masks at the size of the image at one time
MASKS_AT_ONCE = 16


@dataclass
class FoundMasks:
    """N masks and what is known of them; boxes xyxy, all in the frame of the whole image."""

    masks: InstanceMasks
    boxes: Float[Tensor, 'N 4']
    ious: Float[Tensor, ' N']
    stability: Float[Tensor, ' N']
    points: Float[Tensor, 'N 2']
    crops: Float[Tensor, 'N 4']

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: Tensor) -> 'FoundMasks':
        return FoundMasks(*(part[index] for part in vars(self).values()))

    @staticmethod
    def cat(parts: Sequence['FoundMasks']) -> 'FoundMasks':
        """Join; there is at least one part."""
        columns = zip(*(vars(part).values() for part in parts))
        return FoundMasks(InstanceMasks.cat(next(columns)), *(torch.cat(column) for column in columns))


class AutomaticMaskGenerator:
    """Clicks on a grid of points, keeps sure and stable masks, and of masks with like boxes the surest.

    Args:
        network: is put into evaluation mode.
        points_per_side: of the grid on the whole image.
        points_per_batch: clicks that go through the decoder at once.
        pred_iou_thresh: masks of a lower predicted IoU go.
        stability_score_thresh: masks that are less stable go.
        stability_score_offset: how far the threshold moves when the stability is measured.
        mask_threshold: a pixel whose logit is above is inside.
        box_nms_thresh: of two masks of one crop whose boxes have a larger IoU, the less sure one goes.
        crop_n_layers: layers of crops, 2 x 2, 4 x 4 ..., that are searched too.
        crop_nms_thresh: as ``box_nms_thresh`` between crops; the mask of the smaller crop stays.
        crop_overlap_ratio: overlap of the first layer's crops, as part of the image's shorter side.
        crop_n_points_downscale_factor: the grid of every further layer has so many times fewer points per side.
        point_grids: (P, 2) arrays in 0 .. 1, one per layer from 0 on, in place of ``points_per_side``.
        min_mask_region_area: holes and islands of fewer pixels are filled and removed.
        output_mode: 'coco_rle', 'uncompressed_rle' (``counts`` a list) or 'binary_mask' ((H, W) bool).
        use_m2m: put every mask through the decoder once more, as a prompt beside its click.
        multimask_output: three masks per click; False takes one.
        settings: ``mean``, ``std``, ``dynamic_multimask`` ... of :class:`ImagePredictor`.

    Raises:
        ValueError: an output mode that does not exist, a number of grids that does not fit the layers.
    """

    def __init__(self, network: SAM2Network, *, points_per_side: int = 32, points_per_batch: int = 64,
                 pred_iou_thresh: float | int = 0.8, stability_score_thresh: float | int = 0.95,
                 stability_score_offset: float | int = 1., mask_threshold: float | int = 0.,
                 box_nms_thresh: float | int = 0.7, crop_n_layers: int = 0, crop_nms_thresh: float | int = 0.7,
                 crop_overlap_ratio: float | int = 512 / 1500, crop_n_points_downscale_factor: int = 1,
                 point_grids: Sequence[np.ndarray] | None = None, min_mask_region_area: int | float = 0,
                 output_mode: str = 'coco_rle', use_m2m: bool = False, multimask_output: bool = True,
                 **settings: Any) -> None:
        if output_mode not in OUTPUT_MODES:
            raise ValueError(f'output_mode={output_mode!r} is not one of {", ".join(OUTPUT_MODES)}.')
        if point_grids is None:
            point_grids = layer_grids(points_per_side, crop_n_layers, crop_n_points_downscale_factor)
        if len(point_grids) != crop_n_layers + 1:
            raise ValueError(f'point_grids has {len(point_grids)} grids; the image and crop_n_layers={crop_n_layers} '
                             f'layers take {crop_n_layers + 1}.')
        self.predictor = ImagePredictor(network, mask_threshold=mask_threshold, objects_per_batch=points_per_batch,
                                        **settings)
        self.point_grids = [np.asarray(grid, np.float32) for grid in point_grids]
        self.points_per_batch, self.multimask_output, self.use_m2m = points_per_batch, multimask_output, use_m2m
        self.pred_iou_thresh, self.stability_score_thresh = pred_iou_thresh, stability_score_thresh
        self.stability_score_offset, self.box_nms_thresh = stability_score_offset, box_nms_thresh
        self.crop_n_layers, self.crop_nms_thresh = crop_n_layers, crop_nms_thresh
        self.crop_overlap_ratio, self.min_mask_region_area = crop_overlap_ratio, min_mask_region_area
        self.output_mode = output_mode

    def generate(self, image: np.ndarray, *, channels: str = 'bgr') -> list[dict[str, Any]]:
        """Segment everything in an image, (H, W, 3) uint8.

        Returns:
            A dict per mask: ``segmentation`` (see ``output_mode``), ``area`` in pixels, ``bbox`` [x, y, w, h],
            ``predicted_iou``, ``stability_score``, ``point_coords`` [[x, y]] of the click, ``crop_box`` [x, y, w, h];
            surest first, with crops the masks of the smallest crops first.

        Raises:
            ValueError: not such an array.
        """
        return [self._record(one) for one in self._rows(self.search(image, channels=channels))]

    def search(self, image: np.ndarray, *, channels: str = 'bgr') -> FoundMasks:
        """As :meth:`generate`, but as columns."""
        pixels = bgr_tensor(image, channels=channels)
        size = tuple(pixels.shape[-2:])
        crops = crop_boxes(size, self.crop_n_layers, self.crop_overlap_ratio)
        found = FoundMasks.cat([self._search_crop(pixels, crop, self.point_grids[layer]) for crop, layer in crops])
        if len(crops) > 1:
            areas = (found.crops[:, 2] - found.crops[:, 0]) * (found.crops[:, 3] - found.crops[:, 1])
            found = self._suppressed(found, 1 / areas, self.crop_nms_thresh)
        return self._tidied(found) if self.min_mask_region_area > 0 and len(found) else found

    def _search_crop(self, image: Tensor, crop: CropBox, grid: np.ndarray) -> FoundMasks:
        x0, y0, x1, y1 = crop
        self.predictor.set_tensors([image[:, y0:y1, x0:x1]])
        points = torch.from_numpy(grid) * torch.tensor([x1 - x0, y1 - y0], dtype=torch.float32)
        found = [part for start in range(0, len(points), self.points_per_batch) for part in
                 self._click(points[start:start + self.points_per_batch], crop, tuple(image.shape[-2:]))]
        self.predictor.reset()
        joined = FoundMasks.cat(found) if found else _nothing(tuple(image.shape[-2:]))
        return self._suppressed(joined, joined.ious, self.box_nms_thresh)

    def _click(self, points: Float[Tensor, 'P 2'], crop: CropBox, size: tuple[int, int]) -> Iterator[FoundMasks]:
        """Masks of some points (pixels of the crop) that are sure and stable enough."""
        low, ious = self.predictor.decode(self._prompts(points, crop), multimask=self.multimask_output)
        clicked = points.repeat_interleave(low.shape[1], dim=0)
        low, ious = low.flatten(0, 1), ious.flatten()
        if self.use_m2m:
            prompts = self._prompts(clicked, crop).with_masks(low[:, None].clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
            low, ious = (value[:, 0] for value in self.predictor.decode(prompts, multimask=False))
        sure = (ious > self.pred_iou_thresh).nonzero()[:, 0]
        for start in range(0, len(sure), MASKS_AT_ONCE):
            rows = sure[start:start + MASKS_AT_ONCE]
            logits = self.predictor.at_original_size(low[rows][:, None])[:, 0]
            stability = stability_scores(logits, delta=self.stability_score_offset,
                                         mask_threshold=self.predictor.mask_threshold)
            bitmaps = logits > self.predictor.mask_threshold
            kept = (stability >= self.stability_score_thresh) & bitmaps.flatten(1).any(1)
            if kept.any():
                found = _found(bitmaps[kept], ious[rows][kept], stability[kept], clicked[rows.cpu()][kept.cpu()],
                               crop, size)
                yield found[~_cut_off(found.boxes, crop, size)]

    def _prompts(self, points: Float[Tensor, 'P 2'], crop: CropBox) -> Prompts:
        scaled = self.predictor.scaling.points(points, (crop[3] - crop[1], crop[2] - crop[0]))
        labels = torch.full((len(points), 1), POSITIVE, device=self.predictor.device)
        return Prompts(scaled[:, None].to(self.predictor.device), labels, None)

    def _suppressed(self, found: FoundMasks, scores: Float[Tensor, ' N'], threshold: float | int) -> FoundMasks:
        groups = torch.zeros(len(found), dtype=torch.long)
        return found[grouped_nms(found.boxes, scores, groups, iou_threshold=threshold)]

    def _tidied(self, found: FoundMasks) -> FoundMasks:
        """Without small holes and islands; of masks that became alike, one that was so before stays."""
        results = [remove_small_regions(mask.to_bitmaps()[0], max_area=self.min_mask_region_area)
                   for mask in found.masks]
        changed = torch.tensor([has_changed for _, has_changed in results])
        rows = changed.nonzero()[:, 0].tolist()
        if rows:
            rles = [InstanceMasks.from_bitmaps(results[row][0][None]).to_rles()[0] for row in rows]
            new = InstanceMasks.from_rles(rles, found.masks.height, found.masks.width)
            found.masks = found.masks.replace(rows, new)
            found.boxes[rows] = torch.from_numpy(new.bboxes())
        return self._suppressed(found, (~changed).float(), max(self.box_nms_thresh, self.crop_nms_thresh))

    def _rows(self, found: FoundMasks) -> Iterator[FoundMasks]:
        return (found[torch.tensor([row])] for row in range(len(found)))

    def _record(self, one: FoundMasks) -> dict[str, Any]:
        x0, y0, x1, y1 = one.boxes[0].tolist()
        crop = [int(value) for value in one.crops[0].tolist()]
        return dict(segmentation=self._segmentation(one.masks), area=int(one.masks.areas()[0]),
                    bbox=[x0, y0, x1 - x0, y1 - y0], predicted_iou=float(one.ious[0]),
                    point_coords=one.points.tolist(), stability_score=float(one.stability[0]),
                    crop_box=[crop[0], crop[1], crop[2] - crop[0], crop[3] - crop[1]])

    def _segmentation(self, mask: InstanceMasks) -> Any:
        if self.output_mode == 'binary_mask':
            return mask.to_bitmaps()[0]
        if self.output_mode == 'coco_rle':
            rle = mask.to_rles()[0]
            return dict(size=list(rle['size']), counts=rle['counts'].decode('ascii'))
        pixels = mask.to_bitmaps()[0].ravel(order='F')
        edges = np.flatnonzero(np.diff(pixels.astype(np.int8), prepend=0))
        counts = np.diff(edges, prepend=0, append=len(pixels)).tolist()
        return dict(size=[mask.height, mask.width], counts=counts)


def _found(bitmaps: Bool[Tensor, 'N h w'], ious: Tensor, stability: Tensor, points: Tensor, crop: CropBox,
           size: tuple[int, int]) -> FoundMasks:
    rles = [window_to_rle(bitmap, crop, size) for bitmap in bitmaps.cpu().numpy()]
    masks = InstanceMasks.from_rles(rles, *size)
    crops = torch.tensor([crop], dtype=torch.float32).expand(len(rles), -1)
    return FoundMasks(masks, torch.from_numpy(masks.bboxes()), ious.cpu(), stability.cpu(), points + crops[:, :2],
                      crops)


def _nothing(size: tuple[int, int]) -> FoundMasks:
    return FoundMasks(InstanceMasks([], *size), *(torch.zeros(0, *shape) for shape in ((4,), (), (), (2,), (4,))))


def _cut_off(boxes: Float[Tensor, 'N 4'], crop: CropBox, size: tuple[int, int]) -> Bool[Tensor, ' N']:
    """Which boxes end at a border of the crop that is none of the image."""
    at_crop, at_image = ((boxes - on_device(limits, boxes.device, dtype=boxes.dtype)).abs() <= BORDER for limits in
                         (crop, (0, 0, size[1], size[0])))
    return (at_crop & ~at_image).any(1)
