"""What a job writes of every image beside the common JSON files: a picture, segments, a KITTI label file."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskforge.formats.atomic_file import write_atomically
from maskforge.formats.category_rows import is_unused_row
from maskforge.formats.kitti import KittiObject, write_kitti_labels
from maskforge.inference.image_list import InputImage
from maskforge.inference.segment_outputs import above, write_panoptic_map, write_semantic_map
from maskforge.structures import DetDataSample
from maskforge.visualization import draw_predictions, read_color_map

PICTURES, LABELS = 'vis', 'labels'
_GREY = (150, 150, 150)


@dataclass(frozen=True)
class ImageOutputs:
    """The choice of files and their looks.

    "Objects" are instances and panoptic segments. Segments and semantic maps are results, and written in any case.

    Attributes:
        score_thr: objects with a lower score are not drawn.
        min_score: objects with a lower score are not written.
        conf_threshold: takes the place of both: objects with a lower score appear nowhere.
        save_images: write pictures, to ``vis``.
        labels: write KITTI label files with scores (16 columns), to ``labels``.
        min_side: pictures whose shorter side is below this (pixels) are enlarged for drawing; 0 keeps their size.
        color_map: class name -> colour name or (r, g, b). Classes that it leaves out are not drawn; their objects are
            in the label files and in the JSON all the same, as TAO does it.
        outline_width: pixels of the boxes' lines; None follows the size of the picture.

    Raises:
        ValueError: a threshold outside [0, 1], a width below 1.
    """

    score_thr: float = 0.3
    min_score: float = 0.0
    conf_threshold: float | None = None
    save_images: bool = True
    labels: bool = False
    min_side: int = 0
    color_map: Mapping[str, str | Sequence[int]] | None = None
    outline_width: int | None = None

    def __post_init__(self) -> None:
        for name in ('score_thr', 'min_score', 'conf_threshold'):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f'{name}={value} must lie in 0 .. 1.')
        if self.outline_width is not None and self.outline_width < 1:
            raise ValueError(f'outline_width={self.outline_width} must be at least 1 pixel.')

    def settings(self) -> dict[str, Any]:
        """What must be equal for an interrupted job to go on."""
        return asdict(self)

    def check(self, meta: Mapping[str, Any]) -> None:
        """Find mistakes in the colour map, and labels without class names, before the first image.

        Raises:
            ValueError: see :func:`~maskforge.visualization.read_color_map`; labels without names.
        """
        classes = meta.get('classes') or ()
        if self.color_map is not None:
            read_color_map(self.color_map, classes)
        if self.labels and not classes:
            raise ValueError('label files need class names, and the model has none: give classmap=FILE with one name '
                             'a line.')

    def kept(self, sample: DetDataSample) -> DetDataSample:
        """The sample without objects below ``conf_threshold``."""
        if self.conf_threshold is not None and 'pred_instances' in sample:
            found = sample.pred_instances
            sample.pred_instances = found[found.scores >= self.conf_threshold]
        if self.conf_threshold is not None and 'pred_panoptic' in sample:
            sample.pred_panoptic = above(sample.pred_panoptic, self.conf_threshold)
        return sample

    @property
    def written_from(self) -> float:
        """Lowest score that is written."""
        return self.min_score if self.conf_threshold is None else self.conf_threshold

    def write(self, image: InputImage, sample: DetDataSample, out_dir: Path, meta: Mapping[str, Any], *,
              stem: str) -> None:
        """Write the files of one image.

        Args:
            stem: name of the label file and of the maps, without the ending.

        Raises:
            ValueError: label files of a model that predicts no instances.
        """
        if 'pred_panoptic' in sample:
            write_panoptic_map(sample.pred_panoptic, out_dir, stem=stem, min_score=self.written_from)
        if 'pred_sem_seg' in sample:
            write_semantic_map(sample.pred_sem_seg.sem_seg, out_dir, meta, stem=stem)
        if self.save_images:
            write_picture(out_dir / PICTURES / image.drawn_name, self.draw(image.read(), sample, meta))
        if self.labels:
            path = out_dir / LABELS / f'{stem}.txt'
            path.parent.mkdir(parents=True, exist_ok=True)
            write_kitti_labels(path, kitti_objects(sample, meta['classes'], min_score=self.written_from))

    def draw(self, pixels: np.ndarray, sample: DetDataSample, meta: Mapping[str, Any]) -> np.ndarray:
        """Return ``pixels`` (H, W, 3) uint8 BGR with the predictions drawn on a copy."""
        classes, palette = meta.get('classes') or (), meta.get('palette') or None
        colors = None
        if self.color_map is not None:
            colors = read_color_map(self.color_map, classes)
            palette = [colors.get(label, _GREY) for label in range(len(classes))]
        threshold = self.score_thr if self.conf_threshold is None else self.conf_threshold
        return draw_predictions(pixels, sample, classes, palette, threshold, only=colors,
                                line_width=self.outline_width, min_side=self.min_side)


def kitti_objects(sample: DetDataSample, classes: Sequence[str], *, min_score: float = 0.0) -> list[KittiObject]:
    """Predictions of one image as KITTI objects with scores; labels without a class name are left out.

    Raises:
        ValueError: the sample has no instances.
    """
    if 'pred_instances' not in sample:
        raise ValueError("label files need boxes, and the model predicts no instances: add 'instance' to its mode, or "
                         'leave the label files out.')
    found = sample.pred_instances
    rows = zip(found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist())
    return [KittiObject(classes[label], tuple(box), score=score) for box, score, label in rows
            if score >= min_score and label < len(classes) and not is_unused_row(classes[label])]


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a picture whole or not at all; the format follows the file name."""
    written, data = cv2.imencode(path.suffix, image)
    if not written:
        raise ValueError(f'{path}: OpenCV cannot write {path.suffix} files.')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data.tobytes())
