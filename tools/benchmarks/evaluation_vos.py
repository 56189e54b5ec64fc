"""J&F of drawn videos: VOSMetric, and the definition by its word, with scipy's and with OpenCV's dilation."""
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage

from maskforge.evaluation import VOSMetric
from maskforge.formats import rle
from maskforge.structures import ClipSample, VideoMasks

SIZE = (480, 854)


@dataclass
class Frames:
    """Gives the true masks of a frame."""

    masks: list[dict[int, np.ndarray]]

    def __call__(self, frame: int) -> dict[int, np.ndarray]:
        return self.masks[frame]


@dataclass
class VideoData:
    """Object id -> mask, and -> RLE of the prediction, for every frame of every video."""

    truth: list[list[dict[int, np.ndarray]]]
    predicted: list[dict[int, list[dict]]]


def draw(*, videos: int, frames: int, objects: int) -> VideoData:
    """Blobs that drift, and predictions whose outline wobbles."""
    rng, truth, predicted = np.random.default_rng(0), [], []
    rows, columns = np.mgrid[:SIZE[0], :SIZE[1]]
    for _ in range(videos):
        centers, speed = rng.uniform(0.2, 0.8, (objects, 2)) * SIZE, rng.uniform(-4, 4, (objects, 2))
        radii, masks, found = rng.uniform(30, 110, objects), [], {number: [] for number in range(1, objects + 1)}
        for frame in range(frames):
            masks.append({})
            for number, (center, radius) in enumerate(zip(centers + frame * speed, radii), 1):
                y, x = rows - center[0], columns - center[1]
                angle, distance = np.arctan2(y, x), np.hypot(x, 0.7 * y)
                masks[-1][number] = distance < radius * (1 + 0.2 * np.sin(5 * angle))
                wobble = 0.2 * np.sin(5 * angle) + 0.08 * np.sin(11 * angle + frame)
                found[number].append(rle.encode(distance < radius * (1 + wobble)))
        truth.append(masks)
        predicted.append(found)
    return VideoData(truth, predicted)


def ours(data: VideoData) -> tuple[float, float]:
    """J and F from data samples to the means."""
    metric = VOSMetric(table='none')
    for number, (masks, found) in enumerate(zip(data.truth, data.predicted)):
        names = tuple(f'{frame:05d}' for frame in range(len(masks)))
        sample = ClipSample(metainfo=dict(video_name=f'video {number}', frame_names=names, ori_shape=SIZE))
        sample.gt_frames = VideoMasks(Frames(masks), list(range(len(masks))))
        sample.pred_masks, sample.pred_scores = found, {one: [1.] * len(masks) for one in found}
        metric.process({}, [sample.to_dict()])
    scores = metric.evaluate(len(data.truth))
    return scores['vos/J'], scores['vos/F']


def plain(data: VideoData, dilate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[float, float]:
    """J and F by the definition of DAVIS (Perazzi et al. 2016), on whole frames."""
    radius = int(np.ceil(0.008 * np.linalg.norm(SIZE)))
    y, x = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    disk = x**2 + y**2 <= radius**2
    means = []
    for masks, found in zip(data.truth, data.predicted):
        for number, codes in found.items():
            values = [frame_scores(coco_mask.decode(codes[frame]).astype(bool), masks[frame][number], disk, dilate)
                      for frame in range(1, len(masks) - 1)]
            means.append(np.mean(values, 0))
    j, f = np.mean(means, 0)
    return float(j), float(f)


def frame_scores(predicted: np.ndarray, truth: np.ndarray, disk: np.ndarray,
                 dilate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Overlap of the regions, agreement of the outlines; no object here is absent."""
    j = np.logical_and(predicted, truth).sum() / np.logical_or(predicted, truth).sum()
    outlines = [outline(mask) for mask in (predicted, truth)]
    near = [dilate(one, disk) for one in outlines]
    precision = np.logical_and(outlines[0], near[1]).sum() / outlines[0].sum()
    recall = np.logical_and(outlines[1], near[0]).sum() / outlines[1].sum()
    return j, 2 * precision * recall / (precision + recall)


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from one of their neighbours to the right, below and between."""
    right, below, between = mask.copy(), mask.copy(), mask.copy()
    right[:, :-1], below[:-1], between[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    found = (mask ^ right) | (mask ^ below) | (mask ^ between)
    found[-1], found[:, -1] = mask[-1] ^ right[-1], mask[:, -1] ^ below[:, -1]
    found[-1, -1] = False
    return found


def scipy_dilate(mask: np.ndarray, disk: np.ndarray) -> np.ndarray:
    """As the toolkit of DAVIS, whose scikit-image calls scipy."""
    return ndimage.binary_dilation(mask, disk)


def opencv_dilate(mask: np.ndarray, disk: np.ndarray) -> np.ndarray:
    """As later evaluators, which take OpenCV for speed."""
    return cv2.dilate(mask.astype(np.uint8), disk.astype(np.uint8)).astype(bool)
