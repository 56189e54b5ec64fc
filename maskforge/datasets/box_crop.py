"""One sample per box: what MAL trains on and labels."""
import logging
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.structures import InstanceData

from maskforge.formats.coco_json import CocoJson
from maskforge.registry import DATASETS
from maskforge.structures import DetDataSample, InstanceMasks, sample_rng

from .base_det_dataset import BaseDetDataset
from .category_labels import select_categories
from .crop_geometry import (
    BORDERS,
    RESAMPLES,
    box_in_window,
    cut_window,
    draw_margins,
    expand_box,
    resize_crop,
)
from .transforms.load_image import LoadImageFromFile
from .transforms.pack import channels_first

#: ranges of the student's colour changes: brightness, contrast, saturation (factors around 1) and hue (turns)
JITTER = (0.4, 0.4, 0.2, 0.1)


@DATASETS.register_module()
class BoxCropDataset(BaseDetDataset):
    """Every box of a COCO file, cut out with a margin and resized to a square.

    A sample is ``dict(inputs=(3, c, c) uint8 BGR, data_samples)``. The data sample's metainfo: ``img_id``,
    ``img_path``, ``ori_shape``, ``ann_id``, ``category_id``, ``box`` (xyxy in the image, clipped to it), ``crop_box``
    (whole pixels of the image, may reach beyond it), ``box_in_crop`` (xyxy in pixels of the crop), ``box_area``,
    ``flip``, and in training ``photometric``, the drawn changes of the student's colours. ``gt_instances`` has
    ``bboxes``, ``labels`` and, with ``load_mask``, ``masks``, in the frame of the image.

    Crowd regions and boxes outside their image are left out, boxes that stick out are clipped; both are counted.

    Args:
        ann_file, data_root, data_prefix, metainfo, test_mode, indices, serialize_data, on_error, on_defect: as in
            :class:`BaseDetDataset`.
        crop_size: c, pixels.
        load_mask: read the annotations' masks too, as truth for validation.
        min_obj_size, max_obj_size: in training, boxes have more and less than this area (square pixels of the image).
        margin_rate: in training, bounds of the random margins (see :func:`draw_margins`).
        test_margin_rate: in test mode, margins are half of this on every side.
        flip_prob: in training, probability of a mirrored crop.
        border: 'wrap' or 'zero', what a crop shows beyond the image; constant borders mislead the colour kernel.
        resample: 'cv2' or 'pil_bicubic' (see :func:`resize_crop`).
        wrap_box_mask: the box's mask goes on at the other side as the image does, as released weights were trained;
            samples then have ``box_period``, width and height of the image in pixels of the crop.

    Raises:
        ValueError: no box is left, and why; a mask is missing with ``load_mask``; a setting that does not exist.
    """

    def __init__(self, *args: Any, crop_size: int = 512, load_mask: bool = False, min_obj_size: float | int = 2048,
                 max_obj_size: float | int = 1e10, margin_rate: tuple[float, float] = (0., 1.2),
                 test_margin_rate: float = 0.6, flip_prob: float = 0.5, border: str = 'wrap', resample: str = 'cv2',
                 wrap_box_mask: bool = False, **kwargs: Any) -> None:
        if border not in BORDERS or resample not in RESAMPLES:
            raise ValueError(f'BoxCropDataset: border={border!r} must be one of {", ".join(BORDERS)} and '
                             f'resample={resample!r} one of {", ".join(RESAMPLES)}.')
        if kwargs.get('pipeline'):
            raise ValueError('BoxCropDataset takes no pipeline: the crop is the sample.')
        self.crop_size, self.load_mask = crop_size, load_mask
        self.min_obj_size, self.max_obj_size = min_obj_size, max_obj_size
        self.margin_rate, self.test_margin_rate, self.flip_prob = tuple(margin_rate), test_margin_rate, flip_prob
        self.border, self.resample, self.wrap_box_mask = border, resample, wrap_box_mask
        self._loader = LoadImageFromFile()
        self._last: tuple[str, np.ndarray] | None = None
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the file; see :meth:`maskforge.formats.coco_json.CocoJson.load` for the errors."""
        coco = CocoJson.load(self.ann_file, on_defect=self.on_defect, backend_args=self.backend_args)
        labels = select_categories(self._metainfo, coco.category_names, coco.category_ids, label_mode='contiguous',
                                   num_classes=None, source=coco.path)
        boxes, wanted = self._choose(coco, labels)
        of_box = labels[coco.annotations.category_rows].tolist()
        return [self._record(coco, row, index, boxes[index].tolist(), of_box[index])
                for row in range(len(coco)) for index in coco.rows_of_image(row).tolist() if wanted[index]]

    def columns_of(self, records: list[dict]) -> dict[str, np.ndarray]:
        """The image sizes, and ``image_ids`` (N,) int64: boxes with equal numbers are of one image."""
        paths = {path: number for number, path in enumerate(dict.fromkeys(r['img_path'] for r in records))}
        numbers = np.array([paths[record['img_path']] for record in records], np.int64)
        return dict(super().columns_of(records), image_ids=numbers)

    def image_of_box(self) -> np.ndarray:
        """(N,) int64 number of the image of every box (the sampler asks)."""
        return self.column('image_ids')

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """Cut the box out."""
        record = self.get_data_info(idx)
        image = self._read(record)
        if self.test_mode:
            margins, flip, photometric = (self.test_margin_rate / 2,) * 4, False, None
        else:
            rng = sample_rng()
            margins, flip = draw_margins(rng, self.margin_rate), bool(rng.random() < self.flip_prob)
            photometric = draw_photometric(rng)
        window = expand_box(record['box'], margins)
        crop = resize_crop(cut_window(image, window, self.border), self.crop_size, self.resample)
        box = box_in_window(record['box'], window, self.crop_size)
        if flip:
            crop, box = cv2.flip(crop, 1), (self.crop_size - box[2], box[1], self.crop_size - box[0], box[3])
        sample = DetDataSample(metainfo=dict(
            img_id=record['img_id'], img_path=record['img_path'], ori_shape=image.shape[:2], ann_id=record['ann_id'],
            category_id=record['category_id'], box=record['box'], crop_box=window, box_in_crop=box,
            box_area=record['box_area'], flip=flip, photometric=photometric))
        if self.wrap_box_mask:
            height, width = image.shape[:2]
            sample.set_metainfo(dict(box_period=(width * self.crop_size / (window[2] - window[0]),
                                                 height * self.crop_size / (window[3] - window[1]))))
        sample.gt_instances = truth_of_box(record, image.shape[:2])
        return dict(inputs=channels_first(crop), data_samples=sample)

    def _read(self, record: dict) -> np.ndarray:
        """The image; boxes of one image follow one another, so the last one is kept."""
        if self._last is None or self._last[0] != record['img_path']:
            self._last = None
            results = self._loader.transform(dict(img_path=record['img_path'], height=record['height'],
                                                  width=record['width']))
            self._last = record['img_path'], results['img']
        return self._last[1]

    def _choose(self, coco: CocoJson, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 4) xyxy boxes clipped to their images, and which are taken; says how many are not, and why."""
        table = coco.annotations
        sizes = coco.images.sizes[table.image_rows].reshape(-1, 2)[:, ::-1]
        corners = np.concatenate([table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]], axis=1)
        boxes = np.clip(corners, 0, np.tile(sizes, 2))
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = sides.prod(1)
        reasons = {'crowd regions': table.crowd.astype(bool), 'of classes that are not selected':
                   labels[table.category_rows] < 0, 'without extent in their image': ~(sides > 0).all(1)}
        if not self.test_mode:
            reasons['not larger than min_obj_size'] = areas <= self.min_obj_size
            reasons['not smaller than max_obj_size'] = areas >= self.max_obj_size
        wanted = np.ones(len(boxes), bool)
        counts = {}
        for reason, out in reasons.items():
            counts[reason] = int((out & wanted).sum())
            wanted &= ~out
        clipped = int((np.abs(corners - boxes).max(1, initial=0) > 1)[wanted].sum())
        self._report(coco.path, counts, clipped, len(boxes), int(wanted.sum()))
        return boxes, wanted

    def _report(self, path: str, counts: dict[str, int], clipped: int, total: int, left: int) -> None:
        out = ', '.join(f'{count} {reason}' for reason, count in counts.items() if count)
        if not left:
            raise ValueError(f'{path}: none of {total} boxes can be used: {out or "there are none"} '
                             f'(min_obj_size={self.min_obj_size}, max_obj_size={self.max_obj_size}).')
        if out or clipped:
            print_log(f'{path}: {left} of {total} boxes are used; left out: {out or "none"}; {clipped} stick out of '
                      f'their image and are clipped.', 'current', logging.INFO)

    def _record(self, coco: CocoJson, row: int, index: int, box: list[float], label: int) -> dict[str, Any]:
        image, table = coco.image(row), coco.annotations
        identity = int(table.ids[index])
        instance = dict(bbox=box, bbox_label=label, ignore_flag=0)
        if self.load_mask:
            mask = table.segmentations[index]
            if mask is None:
                raise ValueError(f'{coco.path}: annotation {identity} has no segmentation, and load_mask=True asks for '
                                 f'one; set load_mask=False for boxes without masks.')
            instance['mask'] = mask
        return dict(img_path=self.image_path(image['file_name']), img_id=image['id'], height=image['height'],
                    width=image['width'], ann_id=identity, box=tuple(box), instances=[instance],
                    category_id=int(coco.category_ids[table.category_rows[index]]),
                    box_area=(box[2] - box[0]) * (box[3] - box[1]))


def draw_photometric(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the changes of the student's colours: jitter in half of the crops, grey in a fifth, blur in half.

    Returns:
        ``order`` (the order of brightness, contrast, saturation, hue) and ``amounts`` (of each) where there is jitter,
        ``grey``, and ``blur``, the standard deviation in pixels or None.
    """
    drawn: dict[str, Any] = {}
    if rng.random() < 0.5:
        factors = [float(rng.uniform(1 - reach, 1 + reach)) for reach in JITTER[:3]]
        drawn.update(order=rng.permutation(4).tolist(), amounts=[*factors, float(rng.uniform(-JITTER[3], JITTER[3]))])
    drawn['grey'] = bool(rng.random() < 0.2)
    drawn['blur'] = float(rng.uniform(0.1, 2.0)) if rng.random() < 0.5 else None
    return drawn


def truth_of_box(record: dict, size: tuple[int, int]) -> InstanceData:
    """Return the box of a record as ``gt_instances``, with its mask where that was loaded."""
    instance = record['instances'][0]
    truth = InstanceData(bboxes=torch.tensor([instance['bbox']], dtype=torch.float32),
                         labels=torch.tensor([instance['bbox_label']]))
    if 'mask' in instance:
        truth.masks = InstanceMasks([instance['mask']], *size)
    return truth
