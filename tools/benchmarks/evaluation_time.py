"""Time of evaluation on the same results: COCO by both back ends against a plain pycocotools script, panoptic quality
and J&F against their definitions written down with numpy, scipy and OpenCV.

    python tools/benchmarks/evaluation_time.py --images 500 --metric panoptic vos
"""
import contextlib
import io
import sys
import tempfile
from pathlib import Path

import evaluation_panoptic
import evaluation_vos
import numpy as np
import torch
from benchmark_arguments import finish, parser, timing
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskforge.analysis.ratio_table import Comparison, RatioTable, compare_seconds, machine_line, time_in_turns
from maskforge.evaluation import CocoMetric
from maskforge.formats import rle
from maskforge.formats.json_file import write_json
from maskforge.structures import DetDataSample, InstanceMasks

SIZE, CLASSES = (240, 320), 20


def ellipse(box: np.ndarray) -> np.ndarray:
    """The bitmap of the ellipse in a box."""
    y, x = np.mgrid[:SIZE[0], :SIZE[1]]
    center, extent = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1)
    return ((x + 0.5 - center[0]) / extent[0]) ** 2 + ((y + 0.5 - center[1]) / extent[1]) ** 2 < 0.25


def draw(images: int, per_image: int) -> tuple[dict, list[DetDataSample], list[dict]]:
    """Truth as COCO JSON; the same predictions as data samples and as COCO results."""
    random, truth, samples, results = np.random.default_rng(0), [], [], []
    for image in range(1, images + 1):
        corner = random.uniform(0, [SIZE[1] - 80, SIZE[0] - 80], (per_image, 2))
        boxes = np.concatenate([corner, corner + random.uniform(10, 80, (per_image, 2))], 1)
        labels = random.integers(0, CLASSES, per_image)
        for box, label in zip(boxes, labels):
            code = rle.encode(ellipse(box))
            truth.append(dict(id=len(truth) + 1, image_id=image, category_id=int(label) + 1, iscrowd=0,
                              bbox=[*box[:2].tolist(), *(box[2:] - box[:2]).tolist()], area=float(rle.area(code)),
                              segmentation=rle.to_json(code)))
        guess = np.repeat(boxes, 2, 0) + random.normal(0, 4, (2 * per_image, 4))
        guess = np.clip(guess, 0, [SIZE[1], SIZE[0]] * 2)
        scores, kinds = random.uniform(size=len(guess)).astype(np.float32), np.repeat(labels, 2)
        codes = [rle.encode(ellipse(box)) for box in guess]
        samples.append(DetDataSample(metainfo=dict(img_id=image, ori_shape=SIZE), pred_instances=InstanceData(
            bboxes=torch.from_numpy(guess), scores=torch.from_numpy(scores), labels=torch.from_numpy(kinds),
            masks=InstanceMasks(codes, *SIZE))))
        results += [dict(image_id=image, category_id=int(k) + 1, score=float(s), segmentation=rle.to_json(c),
                         bbox=[*b[:2].tolist(), *(b[2:] - b[:2]).tolist()])
                    for b, s, k, c in zip(guess, scores, kinds, codes)]
    categories = [dict(id=k + 1, name=f'class{k}') for k in range(CLASSES)]
    records = [dict(id=i, file_name=f'{i}.jpg', height=SIZE[0], width=SIZE[1]) for i in range(1, images + 1)]
    return dict(images=records, annotations=truth, categories=categories), samples, results


def ours(path: Path, samples: list[DetDataSample], backend: str) -> float:
    """Segmentation AP by our metric."""
    metric = CocoMetric(str(path), metric=['bbox', 'segm'], backend=backend)
    metric.dataset_meta = dict(classes=tuple(f'class{k}' for k in range(CLASSES)))
    with contextlib.redirect_stdout(io.StringIO()):
        metric.process({}, [sample.to_dict() for sample in samples])
        return metric.evaluate(len(samples))['coco/segm_mAP']


def plain(path: Path, results: list[dict]) -> float:
    """Segmentation AP by a script of pycocotools alone."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        for kind in ('bbox', 'segm'):
            found = [dict(result) for result in results]
            if kind == 'segm':  # with a box pycocotools would take its area
                found = [{key: value for key, value in result.items() if key != 'bbox'} for result in found]
            evaluation = COCOeval(truth, truth.loadRes(found), kind)
            evaluation.params.maxDets = [100, 300, 1000]
            evaluation.evaluate()
            evaluation.accumulate()
    precision = evaluation.eval['precision'][..., 0, 0]
    return float(precision[precision > -1].mean())


def coco_rows(args) -> list[Comparison]:
    """Box and mask AP by both back ends."""
    truth, samples, results = draw(args.images, args.objects)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'truth.json'
        write_json(truth, path)
        sides = {'pycocotools alone': lambda: plain(path, results),
                 'CocoMetric': lambda: ours(path, samples, 'pycocotools'),
                 'CocoMetric, faster_coco_eval': lambda: ours(path, samples, 'faster_coco_eval')}
        scores = {name: run() for name, run in sides.items()}
        if max(scores.values()) - min(scores.values()) > 1e-3:
            raise RuntimeError(f'the sides do not score alike: {scores}')
        seconds = time_in_turns(sides, warmup=0, **timing(args))
    note = f'segm AP {scores["CocoMetric"]:.4f} on all sides, within {max(scores.values()) - min(scores.values()):.0e}'
    return [compare_seconds(f'{name}, {args.images} images, {len(results)} predictions', seconds, ours=name,
                            peer='pycocotools alone', note=note) for name in list(sides)[1:]]


def panoptic_rows(args) -> list[Comparison]:
    """Panoptic quality."""
    with tempfile.TemporaryDirectory() as folder:
        data = evaluation_panoptic.draw(Path(folder), images=args.images, size=args.panoptic_size)
        sides = {'ours': lambda: evaluation_panoptic.ours(data), 'plain numpy': lambda: evaluation_panoptic.plain(data)}
        mine, wanted = (run() for run in sides.values())
        if abs(mine - wanted) > 1e-9:
            raise RuntimeError(f'the sides do not score alike: PQ {mine} and {wanted}')
        seconds = time_in_turns(sides, warmup=0, **timing(args))
    task = f'CocoPanopticMetric, {args.images} images of {args.panoptic_size}x{args.panoptic_size}'
    return [compare_seconds(task, seconds, ours='ours', peer='plain numpy', note=f'PQ {mine:.6f} on both sides')]


def vos_rows(args) -> list[Comparison]:
    """J&F, against two ways to dilate outlines."""
    data = evaluation_vos.draw(videos=2, frames=args.frames, objects=2)
    sides = {'ours': lambda: evaluation_vos.ours(data),
             'scipy': lambda: evaluation_vos.plain(data, evaluation_vos.scipy_dilate),
             'OpenCV': lambda: evaluation_vos.plain(data, evaluation_vos.opencv_dilate)}
    scores = {name: run() for name, run in sides.items()}
    if np.ptp(list(scores.values()), axis=0).max() > 1e-9:
        raise RuntimeError(f'the sides do not score alike: {scores}')
    seconds = time_in_turns(sides, warmup=0, **timing(args))
    height, width = evaluation_vos.SIZE
    note = 'J {:.6f} and F {:.6f} on all sides'.format(*scores['ours'])
    return [compare_seconds(f'VOSMetric, {args.frames} frames of {height}x{width}, 2 videos of 2 objects', seconds,
                            ours='ours', peer=peer, note=note) for peer in ('scipy', 'OpenCV')]


METRICS = {'coco': coco_rows, 'panoptic': panoptic_rows, 'vos': vos_rows}


def main() -> int:
    """Check, measure and print."""
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument('--images', type=int, default=300, help='images (300)')
    arguments.add_argument('--objects', type=int, default=10, help='true objects per image; twice as many predicted')
    arguments.add_argument('--panoptic-size', type=int, default=480, help='side of panoptic pictures (480)')
    arguments.add_argument('--frames', type=int, default=20, help='frames of a video (20)')
    arguments.add_argument('--metric', nargs='+', choices=METRICS, default=tuple(METRICS), help='metrics (all)')
    args = arguments.parse_args()
    rows = [row for name in args.metric for row in METRICS[name](args)]
    return finish(RatioTable('Evaluation: COCO (bbox and segm), panoptic quality, J&F', machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
