"""Which classes a model takes for which: a matrix of truth against prediction, as picture, table and JSON."""
import copy
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from terminaltables import AsciiTable
from torch import from_numpy
from torchvision.ops import batched_nms

from maskforge.evaluation.average_precision import box_ious

from .config_parts import build_dataset, loader_config, read_config

BACKGROUND = 'background'


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts of matched boxes.

    Attributes:
        counts: (K + 1, K + 1) int64; row = truth, column = prediction. The last row counts predictions without an
            object, the last column objects without a prediction.
        classes: K names.
    """

    counts: np.ndarray
    classes: tuple[str, ...]

    def rows(self) -> list[list]:
        """Per class: name, objects, found as this class, precision, recall, most frequent confusion."""
        names, rows = (*self.classes, BACKGROUND), []
        for label, name in enumerate(self.classes):
            objects, predicted = int(self.counts[label].sum()), int(self.counts[:, label].sum())
            right = int(self.counts[label, label])
            others = np.where(np.arange(len(names)) == label, -1, self.counts[label])
            worst = int(others.argmax())
            confusion = f'{names[worst]} ({others[worst]})' if others[worst] > 0 else '-'
            rows.append([name, objects, right, right / predicted if predicted else -1.0,
                         right / objects if objects else -1.0, confusion])
        return rows

    def table(self) -> str:
        """The rows as text."""
        header = ['class', 'objects', 'found', 'precision', 'recall', 'most often taken for']
        return AsciiTable([header, *([f'{cell:.3f}' if isinstance(cell, float) and cell >= 0 else
                                      '-' if isinstance(cell, float) else cell for cell in row]
                                     for row in self.rows())]).table


def run(config: str | Path | Config,
        *,
        predictions: str | Path | None = None,
        checkpoint: str | Path | None = None,
        output_dir: str | Path = 'confusion_matrix',
        split: str = 'test',
        score_thr: float = 0.3,
        tp_iou_thr: float = 0.5,
        nms_iou_thr: float | None = None,
        color_theme: str = 'Blues',
        title: str = 'Confusion matrix (share of the objects of each class)',
        options: Sequence[str] = ()) -> ConfusionMatrix:
    """Match predictions with objects and write ``confusion_matrix.png`` and ``.json``; the table is printed.

    Within an image, predictions and objects are paired by falling IoU, whatever their classes; each takes part once.
    Predictions on ignored regions do not count.

    Args:
        config: config file or Config; its data set gives the truth.
        predictions: COCO results (``tools/test.py --out``, original ids).
        checkpoint: or weights, with which the test loop is run first.
        output_dir: where the files go.
        split: data set of the truth.
        score_thr: predictions with a lower score are left out.
        tp_iou_thr: least IoU of a pair.
        nms_iou_thr: suppress overlapping predictions of a class before matching.
        color_theme: a matplotlib colour map.
        title: heading of the picture.
        options: ``key=value`` changes of the config.

    Raises:
        ValueError: not exactly one of ``predictions`` and ``checkpoint``; predictions of unknown images or categories.
    """
    if (predictions is None) == (checkpoint is None):
        raise ValueError('give either predictions (a COCO result file) or a checkpoint to run.')
    cfg = read_config(config, options)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    if predictions is None:
        with tempfile.TemporaryDirectory() as folder:
            records = _read(_predict(cfg, checkpoint, split, Path(folder) / 'predictions.json', output_dir))
    else:
        records = _read(Path(predictions))
    matrix = confusion_matrix(build_dataset(cfg, split), records, score_thr=score_thr, tp_iou_thr=tp_iou_thr,
                              nms_iou_thr=nms_iou_thr)
    (output_dir / 'confusion_matrix.json').write_text(json.dumps(dict(
        classes=[*matrix.classes, BACKGROUND], counts=matrix.counts.tolist(), score_thr=score_thr,
        tp_iou_thr=tp_iou_thr)), encoding='utf-8')
    draw_matrix(matrix, output_dir / 'confusion_matrix.png', color_theme=color_theme, title=title)
    print(matrix.table())
    return matrix


def confusion_matrix(dataset: Any, records: Sequence[dict], *, score_thr: float = 0.3, tp_iou_thr: float = 0.5,
                     nms_iou_thr: float | None = None) -> ConfusionMatrix:
    """Count pairs of a data set's objects and COCO result records."""
    classes = tuple(dataset.metainfo['classes'])
    label_of = {original: label for label, original in enumerate(dataset.metainfo['category_ids'])}
    by_image: dict[Any, list[dict]] = {}
    for record in records:
        if record['category_id'] not in label_of:
            raise ValueError(f'predictions have category id {record["category_id"]}; the data set has '
                             f'{", ".join(map(str, list(label_of)[:10]))}{" ..." if len(label_of) > 10 else ""}.')
        by_image.setdefault(record['image_id'], []).append(record)
    counts = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        found = _detections(by_image.pop(info['img_id'], []), label_of, score_thr, nms_iou_thr)
        _count(counts, info['instances'], *found, tp_iou_thr)
    if by_image:
        raise ValueError(f'predictions have image id {next(iter(by_image))!r} and {len(by_image) - 1} more that the '
                         'data set does not have: take the split that was predicted.')
    return ConfusionMatrix(counts, classes)


def draw_matrix(matrix: ConfusionMatrix, path: str | Path, *, color_theme: str = 'Blues', title: str = '') -> Path:
    """Draw the matrix, each row as shares of its objects; numbers where they fit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    names = [*matrix.classes, BACKGROUND]
    shares = matrix.counts / np.maximum(matrix.counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.55 * len(names) + 2.5, 5, 26))
    figure = Figure(figsize=(side, side * 0.9), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap=color_theme, vmin=0, vmax=1)
    figure.colorbar(picture, fraction=0.046, pad=0.02)
    size = 9 if len(names) <= 25 else 6
    axes.set_xticks(range(len(names)), names, rotation=45 if len(names) <= 12 else 90, fontsize=size,
                    ha='right' if len(names) <= 12 else 'center')
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel('prediction')
    axes.set_ylabel('truth')
    axes.set_title(title, fontsize=10)
    for row, column in np.argwhere(matrix.counts > 0):
        text = f'{100 * shares[row, column]:.0f}' + (f'%\n{matrix.counts[row, column]}' if len(names) <= 12 else '')
        axes.text(column, row, text, ha='center', va='center', fontsize=8 if len(names) <= 25 else 4,
                  color='white' if shares[row, column] > 0.55 else 'black')
    figure.savefig(path, dpi=110)
    return Path(path)


def _read(path: Path) -> list[dict]:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such prediction file.')
    try:
        records = json.loads(path.read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise ValueError(f'{path}: not JSON ({error}).') from None
    if not isinstance(records, list) or any('bbox' not in record for record in records):
        raise ValueError(f'{path}: expected a list of COCO results with image_id, category_id, score and bbox.')
    return records


def _predict(cfg: Config, checkpoint: str | Path, split: str, out: Path, work_dir: Path) -> Path:
    """Run the test loop over a split with a metric that only writes the predictions."""
    from maskforge.engine import Runner
    cfg = copy.deepcopy(cfg)
    cfg.test_dataloader, cfg.test_cfg = loader_config(cfg, split), cfg.get('test_cfg') or dict(type='TestLoop')
    cfg.test_evaluator = [dict(type='DumpResults', out_file_path=str(out))]
    # a run that only tests needs no other part, and a missing training set must not stop it
    for name in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'val_cfg',
                 'val_evaluator'):
        cfg[name] = None
    cfg.load_from, cfg.resume, cfg.work_dir = str(checkpoint), False, str(work_dir / 'test')
    Runner.from_cfg(cfg).test()
    return out


def _detections(records: Sequence[dict], label_of: dict, score_thr: float,
                nms_iou_thr: float | None) -> tuple[np.ndarray, np.ndarray]:
    """(D, 4) xyxy boxes and (D,) labels of one image's predictions."""
    kept = [record for record in records if record['score'] >= score_thr]
    boxes = np.array([record['bbox'] for record in kept], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([label_of[record['category_id']] for record in kept], np.int64)
    if nms_iou_thr is not None and kept:
        scores = np.array([record['score'] for record in kept])
        chosen = batched_nms(from_numpy(boxes), from_numpy(scores), from_numpy(labels), nms_iou_thr).numpy()
        boxes, labels = boxes[chosen], labels[chosen]
    return boxes, labels


def _count(counts: np.ndarray, instances: Sequence[dict], boxes: np.ndarray, labels: np.ndarray,
           iou_thr: float) -> None:
    """Add one image to the counts."""
    ignored = np.array([bool(instance.get('ignore_flag', 0)) for instance in instances], bool)
    truth = np.array([instance['bbox'] for instance in instances], np.float64).reshape(-1, 4)
    truth_labels = np.array([instance['bbox_label'] for instance in instances], np.int64)
    ious = box_ious(boxes, truth)
    free_boxes, free_truth = np.ones(len(boxes), bool), ~ignored
    for flat in np.argsort(-ious, axis=None, kind='stable'):
        box, object_ = np.unravel_index(flat, ious.shape)
        if ious[box, object_] < iou_thr:
            break
        if free_boxes[box] and free_truth[object_]:
            counts[truth_labels[object_], labels[box]] += 1
            free_boxes[box] = free_truth[object_] = False
    over_ignored = (ious[:, ignored] >= iou_thr).any(axis=1)
    np.add.at(counts, (-1, labels[free_boxes & ~over_ignored]), 1)
    np.add.at(counts, (truth_labels[free_truth], -1), 1)
