"""Panoptic quality of drawn pictures: CocoPanopticMetric, and the official formula in plain numpy."""
import contextlib
import io
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskforge.datasets.synthetic import draw_shapes
from maskforge.evaluation import CocoPanopticMetric
from maskforge.formats.panoptic_json import PanopticJson, read_segments
from maskforge.structures import PanopticSegmentation

#: more than any segment id
OFFSET = 2**24


@dataclass
class PanopticData:
    """Truth on disk, and a prediction for every image."""

    annotations: Path
    folder: Path
    truth: PanopticJson
    predicted: list[PanopticSegmentation]


def draw(root: Path, *, images: int, size: int) -> PanopticData:
    """Predictions are the truth moved by some pixels, a fifth of the segments with another class."""
    drawn = draw_shapes(root, num_train=1, num_val=images, size=size, panoptic=True)
    annotations, folder = root / 'annotations' / 'panoptic_val.json', drawn.panoptic['val']
    truth, rng, predicted = PanopticJson.load(annotations), np.random.default_rng(0), []
    for row in range(len(truth)):
        segments = truth.segments_of(row)
        pixels = read_segments(folder / truth.png_names[row], segments, size=tuple(truth.images.sizes[row].tolist()))
        moved = np.roll(pixels, rng.integers(-size // 16, size // 16 + 1, 2), (0, 1))
        labels = segments.category_rows.copy()
        wrong = rng.random(len(labels)) < 0.2
        labels[wrong] = rng.integers(0, len(truth.categories), wrong.sum())
        predicted.append(PanopticSegmentation(moved, labels))
    return PanopticData(annotations, folder, truth, predicted)


def ours(data: PanopticData) -> float:
    """PQ from data samples to the table, files read anew."""
    metric = CocoPanopticMetric(data.annotations, data.folder)
    metric.dataset_meta = dict(classes=tuple(data.truth.category_names),
                               category_ids=tuple(data.truth.category_ids.tolist()))
    with contextlib.redirect_stdout(io.StringIO()):
        metric.process({}, [dict(img_id=int(number), pred_panoptic=found)
                            for number, found in zip(data.truth.images.ids, data.predicted)])
        return metric.evaluate(len(data.predicted))['coco_panoptic/PQ']


def plain(data: PanopticData) -> float:
    """PQ by the formula (Kirillov et al. 2019): pairs of ids counted pixel by pixel, then segment by segment."""
    content = json.loads(data.annotations.read_text())
    ids, names = data.truth.category_ids.tolist(), {one['id']: n for n, one in enumerate(content['images'])}
    iou, hits, wrong, missed = (defaultdict(float) for _ in range(4))
    for record in content['annotations']:
        found = data.predicted[names[record['image_id']]]
        colours = np.array(Image.open(data.folder / record['file_name'])).astype(np.uint32)
        truth = colours[..., 0] + 256 * colours[..., 1] + 256**2 * colours[..., 2]
        true_segments = {one['id']: one for one in record['segments_info']}
        values, areas = np.unique(found.segments, return_counts=True)
        predicted = {int(k): (ids[found.labels[k - 1]], int(area)) for k, area in zip(values, areas) if k}
        true_areas = dict(zip(*(part.tolist() for part in np.unique(truth, return_counts=True))))
        pairs, counts = np.unique(truth.astype(np.uint64) * OFFSET + found.segments.astype(np.uint64),
                                  return_counts=True)
        common = {(int(pair) // OFFSET, int(pair) % OFFSET): int(count) for pair, count in zip(pairs, counts)}
        matched_truth, matched = set(), set()
        for (one, other), count in common.items():
            if one not in true_segments or other not in predicted or true_segments[one].get('iscrowd'):
                continue
            category, area = predicted[other]
            union = true_areas[one] + area - count - common.get((0, other), 0)
            if true_segments[one]['category_id'] == category and count / union > 0.5:
                hits[category] += 1
                iou[category] += count / union
                matched_truth.add(one)
                matched.add(other)
        crowds = {one['category_id']: number for number, one in true_segments.items() if one.get('iscrowd')}
        for number, one in true_segments.items():
            missed[one['category_id']] += number not in matched_truth and not one.get('iscrowd')
        for other, (category, area) in predicted.items():
            void = common.get((0, other), 0) + common.get((crowds.get(category), other), 0)
            wrong[category] += other not in matched and void / area <= 0.5
    quality = [iou[one] / (hits[one] + (wrong[one] + missed[one]) / 2) for one in ids
               if hits[one] + wrong[one] + missed[one]]
    return float(np.mean(quality))
